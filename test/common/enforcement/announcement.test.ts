import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Drift } from '../../../common/drift.ts';
import {
  type Announcement,
  announcementText,
  isAnnounced,
  parseAnnouncement,
} from '../../../common/enforcement/announcement.ts';

const until = '2026-05-05T18:00:00.000Z';
const nowMs = Date.parse(until) - 1;
const sha = `sha256:${'ab'.repeat(32)}`;
const web: Announcement = { node: 'node1', container: 'web', image: 'web:2', until };
const refused = { code: 'validation.request' };

describe('what is signed', () => {
  test('is one line that can be read', () => {
    assert.equal(announcementText(web), `sigilwatch change: web on node1 becomes web:2 before ${until}\n`);
    assert.equal(
      announcementText({ ...web, node: null }),
      `sigilwatch change: web on * becomes web:2 before ${until}\n`,
    );
  });

  test('reads back as it was, and has one spelling', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,20}$/);
    const announcement = fc.record({
      node: fc.constantFrom(null, 'node1', 'lyra'),
      container: name,
      image: fc.oneof(
        fc.constant(sha),
        name,
        fc.constant('registry.local:5000/team/web:1.4'),
        fc.constant(`web@${sha}`),
      ),
      until: fc
        .date({ min: new Date(0), max: new Date('2200'), noInvalidDate: true })
        .map((date) => date.toISOString()),
    });
    fc.assert(
      fc.property(announcement, (said) => {
        const text = announcementText(said);
        assert.deepEqual(parseAnnouncement(text), { ...said });
        assert.equal(announcementText(parseAnnouncement(text)), text);
      }),
    );
  });

  const text = announcementText(web);
  const others: readonly (readonly [what: string, text: string])[] = [
    ['no line end', text.trimEnd()],
    ['two lines', text + text],
    ['a line break of another kind', text.replace('\n', '\r\n')],
    ['two spaces', text.replace(' on ', '  on ')],
    ['a name that the engine would not take', text.replace('web on', '-web on')],
    ['a node that is none', text.replace('node1', 'Node1')],
    ['a digest that is cut', text.replace('web:2', sha.slice(0, -1))],
    ['a digest in capitals', text.replace('web:2', `sha256:${'AB'.repeat(32)}`)],
    ['a time without milliseconds', text.replace('.000Z', 'Z')],
    ['a day that does not exist', text.replace('05-05', '02-30')],
    ['an approval of an order', 'sigilwatch order abc\n'],
  ];
  for (const [what, other] of others) {
    test(`is refused with ${what}`, () => assert.throws(() => parseAnnouncement(other), refused));
  }

  test('cannot be written for what it cannot say', () => {
    for (const wrong of [{ container: 'a b' }, { image: 'x\ny' }, { node: '*' }, { until: 'soon' }]) {
      assert.throws(() => announcementText({ ...web, ...wrong }), refused);
    }
  });
});

describe('a drift is expected', () => {
  const drift: Drift = {
    ...{ id: 'IMAGE_DRIFT/web', kind: 'IMAGE_DRIFT', container: 'web', containerId: 'c'.repeat(64) },
    differences: [{ field: 'image', desired: 'web:1', observed: 'web:2' }],
  };
  const withId = { ...drift, differences: [{ field: 'image_sha', desired: 'sha256:0', observed: sha }] };
  const judge = (said: Partial<Announcement>, others: Partial<Drift> = {}, imageId?: string, atMs = nowMs) =>
    isAnnounced({ ...web, ...said }, { node: 'node1', drift: { ...drift, ...others }, imageId }, atMs);

  test('when the container has exactly the image that was announced', () => {
    assert.ok(judge({}));
    assert.ok(judge({ node: null }));
    assert.ok(judge({ image: 'docker.io/library/web:2' }), 'the same reference, written out');
    assert.ok(judge({ image: sha }, withId));
    assert.ok(judge({ image: sha }, {}, sha), 'its id, known otherwise');
    assert.ok(judge({ image: sha }, { differences: [{ field: 'image', desired: 'web:1', observed: `web@${sha}` }] }));
  });

  test('and not otherwise', () => {
    assert.ok(!judge({}, {}, undefined, Date.parse(until)), 'at the time');
    assert.ok(!judge({ image: 'web:3' }));
    assert.ok(!judge({ image: 'web' }));
    assert.ok(!judge({ image: 'evil.example/web:2' }));
    assert.ok(!judge({ image: sha }), 'nobody knows which image it is');
    assert.ok(!judge({ image: sha }, {}, `sha256:${'cd'.repeat(32)}`));
    assert.ok(!judge({ container: 'api' }));
    assert.ok(!judge({ node: 'node2' }));
    for (const kind of ['MISSING_CONTAINER', 'CONFIG_DRIFT', 'UNAUTHORIZED_CONTAINER'] as const) {
      assert.ok(!judge({}, { kind }), kind);
    }
  });
});
