import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { addressForNodes, joinText } from '../../../collector/commands/join-text.ts';
import { makeTemporaryFolder } from '../../system/leftovers.ts';

const folder = makeTemporaryFolder('sigilwatch-join-text-');
after(() => folder.remove());

function certificateFor(names: string): string {
  const [key, certificate] = [join(folder.path, 'key.pem'), join(folder.path, 'certificate.pem')];
  execFileSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=x'],
    ...['-addext', `subjectAltName=${names}`, '-keyout', key, '-out', certificate],
  ]);
  return readFileSync(certificate, 'utf8');
}

describe('the address that a node is told', () => {
  const of = (host: string, certificate?: string) =>
    addressForNodes({
      ...{ host, port: 7600, certificate, hostname: 'machine' },
      scheme: certificate === undefined ? 'http' : 'https',
    });

  test('is the one that the collector listens at', () => {
    assert.equal(of('10.0.0.11'), 'http://10.0.0.11:7600');
    assert.equal(of('::1'), 'http://[::1]:7600');
  });

  test('is never "everywhere", which no node can reach: the certificate or the machine has a name', () => {
    assert.equal(
      of('0.0.0.0', certificateFor('DNS:*.example.org,DNS:hub.example.org')),
      'https://hub.example.org:7600',
    );
    assert.equal(of('::', certificateFor('IP:fd00::1')), 'https://[fd00::1]:7600');
    assert.equal(of('0.0.0.0', certificateFor('DNS:*.example.org')), 'https://machine:7600');
    assert.equal(of('0.0.0.0'), 'http://machine:7600');
  });
});

test('a token stands alone in the first line, and whoever makes one on loopback hears that no other node can come', () => {
  const told = (address: string) =>
    joinText({ node: 'lyra', address, token: 'swj_x', expires: 'E', logFingerprint: 'F' });
  assert.match(told('https://hub:7600'), /^swj_x\n\n.*\n\n {2}sigilwatch-agent enroll --collector https:\/\/hub:7600 /);
  assert.doesNotMatch(told('https://hub:7600'), /Only this machine/);
  for (const local of ['http://127.0.0.1:7600', 'http://[::1]:7600']) assert.match(told(local), /Only this machine/);
});
