import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, test } from 'vitest';
import { apiRoutes } from '../../src/api/app.js';
import { documentWithoutServer, withoutServer } from './withoutServer.js';

const document = await documentWithoutServer();
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

describe('the document', () => {
  test('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const result = await validator.validate(structuredClone(document) as unknown as Record<string, unknown>);
    expect(result.errors ?? []).toEqual([]);
    expect([result.valid, validator.version]).toEqual([true, '3.1']);
  });

  test('names every operation once, by a name of its own, with a known tag and what is needed to use it', () => {
    const routes = apiRoutes(withoutServer());
    expect(operations.length).toBe(routes.length + 1);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^(?:get|post|put|patch|delete)[A-Z][A-Za-z0-9]+$/.test(id))).toEqual([]);
    const tags = new Set(document.tags.map(({ name }) => name));
    expect(operations.flatMap(({ operation }) => operation.tags.filter((tag) => !tags.has(tag)))).toEqual([]);
    for (const { path, operation } of operations) expect(operation.security.length > 0, path).toBe(operation['x-permission'] !== 'public');
  });

  test('says nothing that no value can satisfy', () => {
    const text = JSON.stringify(document);
    expect(text).not.toContain('"allOf"');
    expect(text).not.toContain('"nullable"');
    for (const [, pattern = ''] of text.matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g))
      expect(() => new RegExp(JSON.parse(pattern), 'u')).not.toThrow();
  });

  test('names every parameter of a path, and says whether a body may be left out', () => {
    for (const { path, operation } of operations) {
      const named = (operation.parameters ?? []).filter((one) => one.in === 'path').map((one) => one.name);
      expect(named.sort(), path).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort());
      if (operation.requestBody) expect(typeof operation.requestBody.required, path).toBe('boolean');
    }
  });
});
