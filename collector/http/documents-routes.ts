import { apiDescription, apiPage as apiPageContract } from '../api/documents-contract.ts';
import type { OpenApiDocument } from '../api/openapi-document.ts';
import { apiPage, apiPagePolicy } from '../api/page/page.ts';
import type { Serve } from './serving.ts';

/**
 * What describes the API: for programs and for people. Both are written once, when somebody asks for the first time.
 * @param describe the whole of it
 */
export function addDocumentsRoutes(serve: Serve, describe: () => OpenApiDocument): void {
  const document = once(describe);
  const text = once(() => JSON.stringify(document()));
  const page = once(() => apiPage(document()));
  serve.raw(apiDescription, async (_, c) =>
    c.body(text(), 200, { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-cache' }),
  );
  serve.raw(apiPageContract, async (_, c) => {
    c.header('Content-Security-Policy', `${apiPagePolicy}; frame-ancestors 'none'; sandbox`);
    c.header('Referrer-Policy', 'no-referrer');
    c.header('Cache-Control', 'no-cache');
    return c.html(page());
  });
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
