import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { z } from 'zod';
import { type Contract, contract } from '../../../collector/api/contract.ts';
import { contracts } from '../../../collector/api/contracts.ts';
import { failureClasses } from '../../../collector/api/failures.ts';
import { createSchemaBook } from '../../../collector/api/json-schema.ts';
import { describeApi, templateOf } from '../../../collector/api/openapi.ts';
import type { OperationObject } from '../../../collector/api/openapi-document.ts';
import { permissionsOf } from '../../../collector/auth/permissions.ts';
import { httpStatus } from '../../../collector/http/errors.ts';
import type { ErrorCode } from '../../../common/errors.ts';

const open = permissionsOf('anonymous');
const facts = { version: '1.2.3', serverUrl: '/', origin: 'log.example.org/log', open };
const document = describeApi(contracts, facts);

function described(one: Contract): OperationObject {
  const operation = document.paths[templateOf(one.path)]?.[one.method];
  assert.ok(operation, one.operation);
  return operation;
}

/** A route of which only what a test is about is said. */
function route(more: Partial<Pick<Contract, 'query' | 'params' | 'answers' | 'path'>>): Contract {
  const head = { operation: 'things.list', method: 'get', path: '/things', permission: 'fleet.read' } as const;
  return contract({ ...head, summary: 'things', answers: { 200: z.object({}) }, ...more });
}

function onlyRoute(one: Contract): OperationObject {
  const [item] = Object.values(describeApi([one], facts).paths);
  assert.ok(item?.get);
  return item.get;
}

describe('the OpenAPI document', () => {
  test('is valid, says another implementation, and all that it refers to is there', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(JSON.parse(JSON.stringify(document)));
    assert.ok(valid, JSON.stringify(errors));
    assert.equal(validator.version, '3.1');
    const text = JSON.stringify(document);
    for (const [, ref = ''] of text.matchAll(/"\$ref":"#\/(.*?)"/g)) {
      let at: unknown = document;
      for (const step of ref.split('/')) at = Object(at)[step];
      assert.ok(at !== undefined, ref);
    }
    assert.doesNotMatch(text, /\$defs|"\$schema"/);
  });

  test('is the same each time that it is written', () => {
    assert.equal(JSON.stringify(describeApi(contracts, facts)), JSON.stringify(document));
  });

  test('tells of every contract, with its permission, and wants a token unless everybody may', () => {
    for (const one of contracts) {
      const operation = described(one);
      assert.equal(operation.operationId, one.operation);
      assert.equal(operation['x-permission'], one.permission);
      assert.ok(document['x-permissions'][one.permission]);
      assert.deepEqual(operation.security, open.has(one.permission) ? [] : [{ bearer: [] }], one.operation);
      for (const status of Object.keys(one.answers)) assert.ok(!('$ref' in (operation.responses[status] ?? {})));
    }
  });

  test('says that the log is open where it is', () => {
    const log = describeApi(contracts, { ...facts, open: new Set([...open, 'log.read'] as const) });
    assert.deepEqual(log.paths['/log/checkpoint']?.get?.security, []);
    assert.deepEqual(document.paths['/log/checkpoint']?.get?.security, [{ bearer: [] }]);
  });

  test('names the parameters of a path as they stand in it', () => {
    assert.equal(templateOf('/log/tile/:path{.+}'), '/log/tile/{path}');
    assert.equal(templateOf('/a/:one{[a-f]{2}}/b/:two_3'), '/a/{one}/b/{two_3}');
    for (const [path, item] of Object.entries(document.paths)) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
      for (const { parameters } of Object.values(item)) {
        const told = parameters.flatMap((one) => ('in' in one && one.in === 'path' ? [one.name] : []));
        assert.deepEqual(told.sort(), inPath, path);
      }
    }
  });

  test('tells a number in a query as the number that it has to be, with what it is without', () => {
    const { parameters } = described(contracts.find(({ operation }) => operation === 'orders.list') ?? route({}));
    const limit = parameters.find((one) => 'in' in one && one.name === 'limit');
    const schema = { type: 'integer', minimum: 1, maximum: 1000, default: 100 };
    assert.deepEqual(limit, { name: 'limit', in: 'query', description: 'rows of a page', schema });
  });

  test('says of a parameter that has to be there that it has to', () => {
    const { parameters } = onlyRoute(
      route({ query: z.strictObject({ must: z.string(), may: z.string().optional() }) }),
    );
    const required = parameters.flatMap((one) => ('in' in one ? [[one.name, one.required]] : []));
    assert.deepEqual(required, [
      ['must', true],
      ['may', undefined],
    ]);
  });

  test('has each schema with a name once, wherever it is used', () => {
    const thing = z.object({ name: z.string() }).meta({ id: 'Thing' });
    const ref = { $ref: '#/components/schemas/Thing' };
    const book = createSchemaBook();
    assert.deepEqual(book.write(thing, 'output'), ref);
    assert.deepEqual(book.write(z.array(thing), 'input').items, ref);
    assert.deepEqual(book.write(thing.nullable(), 'output').anyOf, [ref, { type: 'null' }]);
    assert.deepEqual(Object.keys(book.named()), ['Thing']);
  });

  test('cannot be written where one name stands for two schemas, or what contains itself has none', () => {
    const book = createSchemaBook();
    book.write(z.object({ a: z.string() }).meta({ id: 'Twice' }), 'output');
    assert.throws(() => book.write(z.object({ b: z.string() }).meta({ id: 'Twice' }), 'output'), /the name Twice/);
    const tree = z.object({
      get branches() {
        return z.array(tree);
      },
    });
    assert.throws(() => book.write(tree, 'output'), /needs a name/);
  });

  test('refuses members that are not known in bodies, and leaves room for more in answers', () => {
    const book = createSchemaBook();
    assert.equal(book.write(z.strictObject({ a: z.string() }), 'input').additionalProperties, false);
    assert.equal(book.write(z.object({ a: z.string() }), 'output').additionalProperties, undefined);
  });
});

test('failures have the status that the documentation says', () => {
  const known = (code: string): code is ErrorCode => !code.endsWith('*');
  for (const { status, codes } of failureClasses) {
    for (const code of codes) if (known(code)) assert.equal(httpStatus(code), status, code);
  }
});
