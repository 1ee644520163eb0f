import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isLater, versionToRecord } from '../../common/data-version.ts';
import { AppError } from '../../common/errors.ts';

describe('which of two versions is the later one', () => {
  const order = ['0.1.0', '0.1.1', '0.2.0-rc.1', '0.2.0', '0.10.0', '1.0.0', '10.0.0'];
  for (const [place, version] of order.entries()) {
    test(`${version} is later than what stands before it, and than nothing else`, () => {
      const earlier = order.filter((other) => isLater(version, other));
      assert.deepEqual(earlier, order.slice(0, place));
    });
  }

  test('what is no version is never later, and nothing is later than it', () => {
    for (const odd of ['', 'x', '9', '9.9', '9.9.9.9', '99999999999.0.0', '../../etc/passwd']) {
      assert.equal(isLater(odd, '0.1.0'), false);
      assert.equal(isLater('0.1.0', odd), false);
    }
  });
});

describe('the record of a data directory', () => {
  test('is made where there is none, follows an upgrade, and is left alone otherwise', () => {
    assert.equal(versionToRecord('/data', undefined, '0.1.0'), '0.1.0\n');
    assert.equal(versionToRecord('/data', '0.1.0\n', '0.2.0'), '0.2.0\n');
    assert.equal(versionToRecord('/data', '0.2.0\n', '0.2.0'), undefined);
  });

  test('of a later version is refused, naming both and what to do', () => {
    assert.throws(
      () => versionToRecord('/data', '0.2.0\n', '0.1.0'),
      (error) =>
        error instanceof AppError &&
        error.code === 'state.conflict' &&
        /\/data was written by version 0\.2\.0, and this is 0\.1\.0.*Install 0\.2\.0 or later/.test(error.message),
    );
  });

  test('that is damaged is put right, and keeps nothing from starting', () => {
    assert.equal(versionToRecord('/data', '\0\0\0', '0.1.0'), '0.1.0\n');
  });
});
