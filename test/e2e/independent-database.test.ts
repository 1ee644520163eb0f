import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import { type FilledLedger, fetchFrom, fillLedger, serveCopy } from './independent-world.ts';
import { audit, type Head, logAlone, type Policy } from './tile-auditor.ts';
import { parseHead, parseNote } from './tile-auditor-notes.ts';

let postgres: TestPostgres;
let dir: string;
let ledger: FilledLedger;
let alone: Policy;
let saved: Head[];

before(async () => {
  postgres = await startPostgres();
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-independent-'));
  ledger = await fillLedger(postgres, dir);
  alone = logAlone(ledger.vkey);
  saved = ledger.notes.map((note) => parseHead(parseNote(Buffer.from(note)).text));
});
after(async () => {
  await postgres.stop();
  await rm(dir, { recursive: true, force: true });
});

describe('what a superuser does to the tables behind a running collector', () => {
  const flipAt = (column: string, at: number) =>
    `set ${column} = set_byte(${column}, ${at}, get_byte(${column}, ${at}) # 1)`;
  const changes: Readonly<Record<string, string>> = {
    'a byte of a body': `update entry_bodies ${flipAt('bytes', 40)} where index = 300`,
    'a byte of a signature': `update entry_bodies ${flipAt('signature', 9)} where index = 0`,
    'a byte of a tile': `update tiles ${flipAt('hashes', 5_000)} where level = 0 and n = 1`,
    'two bodies swapped': `update entry_bodies b set bytes = o.bytes, signature = o.signature
       from entry_bodies o where (b.index, o.index) in ((20, 21), (21, 20))`,
    'a body deleted': 'delete from entry_bodies where index = 511',
    'the last entries deleted': 'delete from entry_bodies where index > 500; delete from entries where index > 500',
    'all bodies dropped with their partition': 'drop table run_bodies_000000',
    'a tile deleted': 'delete from tiles where n = 0',
    'the tree head set forward': 'update ledger_head set size = size + 1',
  };
  for (const [change, sql] of Object.entries(changes)) {
    test(`is found by the auditor: ${change}`, async () => {
      const victim = await serveCopy(postgres, ledger);
      try {
        await victim.tamper(sql);
        await assert.rejects(audit(fetchFrom(victim.prefix), alone, saved));
      } finally {
        await victim.stop();
      }
    });
  }

  test('is found by the auditor: the whole ledger written anew, with the right key and more entries', async () => {
    const forgery = await mkdtemp(join(tmpdir(), 'sigilwatch-forgery-'));
    await copyFile(ledger.keyFile, join(forgery, basename(ledger.keyFile)));
    const forged = await serveCopy(postgres, await fillLedger(postgres, forgery));
    await audit(fetchFrom(forged.prefix), alone);
    await assert.rejects(audit(fetchFrom(forged.prefix), alone, saved), /not those of an earlier checkpoint/);
    await forged.stop();
    await rm(forgery, { recursive: true, force: true });
  });
});
