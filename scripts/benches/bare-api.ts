/**
 * `node bare-api.ts DATABASE_URL`: the same statements behind bare handlers. No gate, no checks, no cursors, nothing counted; says
 * its address in one line of JSON.
 */
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { listEntries } from '../../collector/postgres/entry-list-store.ts';
import { createPool } from '../../collector/postgres/pool.ts';
import { listDrifts, listNodes } from '../../collector/postgres/query-store.ts';
import { limits } from '../../common/limits.ts';

const [url = ''] = process.argv.slice(2);
const db = createPool({
  url,
  applicationName: 'sigilwatch-bench-bare',
  maxConnections: limits.databaseConnections,
  onIdleError: () => {},
});
const app = new Hono();
const page = (limit = '25') => ({ after: undefined, limit: Number(limit) + 1 });
const all = { node: undefined, kind: undefined, container: undefined, from: undefined, to: undefined };

app.get('/api/v1/drifts', async (c) => {
  const state = c.req.query('state') === 'open' ? 'open' : 'all';
  return c.json({
    items: await listDrifts(db, { ...all, node: c.req.query('node'), state }, page(c.req.query('limit'))),
  });
});
app.get('/api/v1/entries', async (c) => {
  const none = { author: undefined, kind: undefined, from: undefined, to: undefined };
  const rows = await listEntries(db, none, page(c.req.query('limit')));
  const items = rows.map(({ bytes, signature, entry_hash, leaf_hash, ...row }) => ({
    ...row,
    entry_hash: entry_hash.toString('hex'),
    leaf_hash: leaf_hash.toString('base64'),
    signature: signature?.toString('base64') ?? null,
    entry: bytes === null ? null : JSON.parse(bytes.toString('utf8')),
  }));
  return c.json({ items });
});
app.get('/api/v1/nodes', async (c) =>
  c.json({ items: await listNodes(db, { state: undefined }, page(c.req.query('limit'))) }),
);

const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` })}\n`);
});
process.once('SIGTERM', () => {
  server.close();
  void db.end().then(() => process.exit(0));
});
