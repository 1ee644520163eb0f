import { contract } from './contract.ts';

/*
 * What describes the API itself.
 */

export const apiDescription = contract({
  operation: 'documents.openapi',
  method: 'get',
  path: '/api/v1/openapi.json',
  permission: 'service.documents',
  summary: 'All of this as an OpenAPI 3.1 document, for programs',
  answers: { 200: { media: ['application/json'], description: 'an OpenAPI 3.1 document' } },
});

export const apiPage = contract({
  operation: 'documents.page',
  method: 'get',
  path: '/api/v1/docs',
  permission: 'service.documents',
  summary: 'This page, for people: it needs no script and loads nothing',
  answers: { 200: { media: ['text/html'], description: 'a page' } },
});
