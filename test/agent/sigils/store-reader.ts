/** Reads the stores whose folders it is sent, one a line, as somebody does who verifies nothing, and answers each with a digest. */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Level } from 'level';

async function digestOf(path: string): Promise<string> {
  const db = new Level<Buffer, Buffer>(path, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  const digest = createHash('sha256');
  try {
    await db.open({ createIfMissing: false });
    for await (const [key, value] of db.iterator()) digest.update(`${key.toString('hex')} ${value.toString('hex')}\n`);
    return digest.digest('hex');
  } catch (thrown) {
    return `failed: ${String(thrown).replaceAll('\n', ' ')}`;
  } finally {
    await db.close().catch(() => {});
  }
}

for await (const path of createInterface({ input: process.stdin })) process.stdout.write(`${await digestOf(path)}\n`);
