-- Whoever follows what ends on a node reads on from the last one, however many have ended before.
create index drifts_ended on drifts (node, resolved_index) where kind = 'UNAUTHORIZED_CONTAINER';
