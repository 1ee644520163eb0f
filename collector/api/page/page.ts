import { escaped, policyOf } from '../../../common/report-html.ts';
import { roles } from '../../auth/permissions.ts';
import type { Method } from '../contract.ts';
import type { JsonSchema } from '../json-schema.ts';
import type { OpenApiDocument, PlacedOperation } from '../openapi-document.ts';
import { operationHtml } from './operation.ts';
import { style } from './style.ts';
import { typeHtml } from './types.ts';

/** What a browser is told with the page: nothing but its own style. */
export const apiPagePolicy = policyOf(style);

/** The document for people: one HTML page that needs no script and loads nothing. Texts are escaped, whoever wrote them. */
export function apiPage(document: OpenApiDocument): string {
  const placed = placedIn(document);
  const groups = document.tags.map(({ name }) => ({
    name,
    operations: placed.filter(({ operation }) => operation.tags[0] === name),
  }));
  const schemas = Object.entries(document.components.schemas);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${apiPagePolicy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${escaped(`${document.info.title}: the API`)}</title>
<style>${style}</style>
</head>
<body>
${navigation(groups)}
<main>
${introduction(document)}
${groups.map(({ name, operations }) => groupHtml(document, name, operations)).join('\n')}
<h2 id="schemas">Schemas</h2>
${schemas.map(schemaHtml).join('\n')}
</main>
</body>
</html>
`;
}

const methods: readonly Method[] = ['get', 'post', 'patch', 'delete'];

function placedIn({ paths }: OpenApiDocument): PlacedOperation[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = item[method];
      return operation === undefined ? [] : [{ path, method, operation }];
    }),
  );
}

interface Group {
  readonly name: string;
  readonly operations: readonly PlacedOperation[];
}

function anchor(name: string): string {
  return escaped(name.replaceAll(' ', '-'));
}

function navigation(groups: readonly Group[]): string {
  const about = ['using', 'failures', 'permissions'].map((name) => `<li><a href="#${name}">${name}</a></li>`);
  const lists = groups.map(({ name, operations }) => {
    const links = operations.map(
      ({ operation: { operationId } }) => `<li><a href="#${escaped(operationId)}">${escaped(operationId)}</a></li>`,
    );
    return `<div><p><a href="#of-${anchor(name)}">${escaped(name)}</a></p><ul>${links.join('')}</ul></div>`;
  });
  return `<nav aria-label="resources"><div><p>about</p><ul>${about.join('')}<li><a href="#schemas">schemas</a></li></ul></div>${lists.join('\n')}</nav>`;
}

function introduction(document: OpenApiDocument): string {
  const { info } = document;
  return `<h1>${escaped(info.title)}</h1>
<p class="lead">${escaped(info.description)} Version ${escaped(info.version)}. For programs: <a href="/api/v1/openapi.json">openapi.json</a>.</p>
<h2 id="using">Using it</h2>
<p>Requests and answers are JSON. Whoever may do more than everybody says so by a token:</p>
<pre>COLLECTOR=http://127.0.0.1:7600
TOKEN=…
curl "$COLLECTOR/api/v1/nodes" \\
  -H "Authorization: Bearer $TOKEN"</pre>
<p>Lists come in pages. <code>limit</code> says how many rows, <code>cursor</code> is the <code>next_cursor</code> of the page before, and null is the end.
A page goes on where the one before ended, also when there is more by then. Parameters and members of a body that are not known are refused. Answers may get more
members; times are UTC, as RFC 3339 has them.</p>
${headersHtml(document)}
${failuresHtml(document)}
${permissionsHtml(document)}`;
}

function headersHtml({ components }: OpenApiDocument): string {
  const sent = Object.values(components.parameters).map(({ name, description = '' }) => ['request', name, description]);
  const answered = Object.entries(components.headers).map(([name, { description }]) => ['answer', name, description]);
  const rows = [...sent, ...answered].map(
    ([where = '', name = '', description = '']) =>
      `<tr><td>${where}</td><td><code>${escaped(name)}</code></td><td>${escaped(description)}</td></tr>`,
  );
  return `<h4>Headers</h4>
<div class="wide"><table><tbody>${rows.join('')}</tbody></table></div>`;
}

/** The shared answers are told once; each operation names those that it has. */
function failuresHtml({ components, paths }: OpenApiDocument): string {
  const statuses = new Map<string, string>();
  for (const item of Object.values(paths)) {
    for (const operation of Object.values(item)) {
      for (const [status, answer] of Object.entries(operation.responses)) {
        if ('$ref' in answer) statuses.set(answer.$ref.split('/').at(-1) ?? '', status);
      }
    }
  }
  const rows = Object.entries(components.responses).map(([name, { description }]) => {
    const status = statuses.get(name) ?? '';
    const [codes = '', meaning] = description.split(/: (.*)/s);
    const shown = meaning === undefined ? ['', codes] : [codes, meaning];
    return `<tr id="failure-${escaped(status)}"><td>${status === 'default' ? 'else' : escaped(status)}</td><td><code>${escaped(shown[0] ?? '')}</code></td><td>${escaped(shown[1] ?? '')}</td></tr>`;
  });
  return `<h2 id="failures">Failures</h2>
<p>Whatever goes wrong is told in one form, a <a href="#schema-Failure">Failure</a>. Programs look at <code>error_code</code>; the message is for people.</p>
<div class="wide"><table><thead><tr><th>status</th><th>error_code</th><th>meaning</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function permissionsHtml(document: OpenApiDocument): string {
  const rows = Object.entries(document['x-permissions']).map(([name, grant]) => {
    const marks = roles.map((role) => `<td class="yes">${grant.roles.includes(role) ? '●' : ''}</td>`);
    return `<tr id="permission-${escaped(name)}"><td><code>${escaped(name)}</code></td><td>${escaped(grant.allows)}</td>${marks.join('')}</tr>`;
  });
  return `<h2 id="permissions">Permissions</h2>
<p>Every route needs one permission. A role has those that are marked; <code>anonymous</code> is whoever has not signed in.</p>
<div class="wide"><table class="matrix"><thead><tr><th>permission</th><th>allows to</th>${roles.map((role) => `<th class="yes">${role}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function groupHtml(document: OpenApiDocument, name: string, operations: readonly PlacedOperation[]): string {
  return `<section>
<h2 id="of-${anchor(name)}">${escaped(name)}</h2>
${operations.map((placed) => operationHtml(document, placed)).join('\n')}
</section>`;
}

function schemaHtml([name, schema]: readonly [string, JsonSchema]): string {
  const shown = escaped(name);
  return `<article id="schema-${shown}"><h3><a href="#schema-${shown}">${shown}</a></h3>
<pre>${typeHtml(schema)}</pre></article>`;
}
