import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { contract } from '../../../collector/api/contract.ts';
import { contracts } from '../../../collector/api/contracts.ts';
import { createSchemaBook } from '../../../collector/api/json-schema.ts';
import { describeApi } from '../../../collector/api/openapi.ts';
import { exampleOf } from '../../../collector/api/page/example.ts';
import { apiPage, apiPagePolicy } from '../../../collector/api/page/page.ts';
import { notesOf, typeHtml } from '../../../collector/api/page/types.ts';
import { permissions, permissionsOf } from '../../../collector/auth/permissions.ts';

const facts = { version: '1', serverUrl: '/', origin: 'log.example.org/log', open: permissionsOf('anonymous') };
const page = apiPage(describeApi(contracts, facts));

const typeOf = (schema: z.ZodType) => typeHtml(createSchemaBook().write(schema, 'output'));

describe('the page about the API', () => {
  test('tells of every route: where it is, who may, and what for', () => {
    for (const { operation, summary, permission } of contracts) {
      const [, article = ''] = page.split(`<article id="${operation}">`);
      const [own = ''] = article.split('</article>');
      assert.ok(own.includes(summary.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)), operation);
      assert.ok(own.includes(permission) && own.includes('curl '), operation);
      for (const role of permissions[permission].roles) {
        assert.ok(own.includes(`>${role}<`) || own.includes('>everybody<'), `${operation}: ${role}`);
      }
    }
  });

  test('has a place for everything that it links to, and each place once', () => {
    const places = [...page.matchAll(/ id="(.*?)"/g)].map(([, id]) => id);
    assert.equal(new Set(places).size, places.length);
    for (const [, place] of page.matchAll(/href="#(.*?)"/g)) assert.ok(places.includes(place), place);
  });

  test('needs nothing but itself, and its policy says so', () => {
    assert.doesNotMatch(page, /<script|<img|<link|<iframe|<form| src=| style=| on\w+=|@import|url\(/);
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(page) ?? [];
    assert.ok(apiPagePolicy.includes(`style-src 'sha256-${hash('sha256', style, 'base64')}'`));
    assert.match(apiPagePolicy, /^default-src 'none'/);
    assert.ok(page.includes(`content="${apiPagePolicy}"`));
  });

  test('shows markup in texts as text', () => {
    const nasty = `"><script>alert('x')</script>\u202e`;
    const thing = z.object({ [nasty]: z.literal(nasty).describe(nasty) });
    const one = contract({
      operation: 'things.show',
      method: 'get',
      path: '/things',
      permission: 'fleet.read',
      summary: nasty,
      query: z.strictObject({ [nasty]: z.enum([nasty]) }),
      answers: { 200: thing },
    });
    const shown = apiPage(describeApi([one], { ...facts, origin: nasty, version: nasty }));
    assert.doesNotMatch(shown, /<script|\u202e/);
  });
});

describe('a schema is shown as a type', () => {
  const cases: readonly (readonly [schema: z.ZodType, type: string])[] = [
    [z.string(), 'string'],
    [z.iso.datetime().nullable(), 'time | null'],
    [z.array(z.union([z.string(), z.int()])), '(string | integer)[]'],
    [z.enum(['a', 'b']), '&#34;a&#34; | &#34;b&#34;'],
    [z.record(z.string(), z.int()), '{\n  [name]: integer\n}'],
    [z.unknown(), 'anything'],
    [z.tuple([z.string(), z.boolean()]), '[string, boolean]'],
    [z.object({ a: z.object({ b: z.null() }).optional() }), '{\n  <b>a</b>?: {\n    <b>b</b>: null\n  }\n}'],
    [z.object({}).meta({ id: 'Named' }), '<a href="#schema-Named">Named</a>'],
  ];
  for (const [schema, type] of cases) test(type.replace(/\s+/g, ' '), () => assert.equal(typeOf(schema), type));

  test('with what else is to be known', () => {
    const notes = (schema: z.ZodType) => notesOf(createSchemaBook().write(schema, 'input'));
    assert.equal(
      notes(z.string().min(1).max(9).describe('a word').default('x')),
      'a word; 1 to 9 characters; default "x"',
    );
    assert.equal(notes(z.int().min(3)), 'from 3');
    assert.equal(notes(z.string().regex(/^a+$/)), 'matches ^a+$');
  });
});

test('an example has what a route needs: a token, parameters, and a body that it accepts the form of', () => {
  const document = describeApi(contracts, facts);
  const example = (path: string, method: 'get' | 'post') => {
    const operation = document.paths[path]?.[method];
    assert.ok(operation);
    return exampleOf(document, { path, method, operation });
  };
  assert.equal(example('/health', 'get'), 'curl "$COLLECTOR/health"');
  assert.equal(
    example('/api/v1/orders/{hash}/reject', 'post'),
    `curl -X POST "$COLLECTOR/api/v1/orders/HASH/reject" \\
  -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{"reason":"REASON"}'`,
  );
});
