-- Lists of the API, newest first: each filter that is given alone has an index, in the order of the list where it can be.
create index drifts_of_kind on drifts (kind, opened_index);
create index drifts_of_container on drifts (container, opened_index);
create index drifts_open on drifts (opened_index) where resolved_index is null;
create index drifts_by_time on drifts (opened_at);
create index findings_of_store on findings (store, opened_index);
create index findings_of_check on findings ("check", opened_index);
create index findings_open on findings (opened_index) where cleared_index is null;
create index findings_by_time on findings (opened_at);
create index orders_on_container on orders (container, index);
create index orders_by_node on orders (node, index);
create index containers_of_image on containers (image, node, id);
