-- API tokens took their place: they have a name, an owner, an end, and permissions.
drop table operator_tokens;
