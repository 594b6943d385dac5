import { describe, expect, test } from 'vitest';
import { createApi } from '../../src/api/app.js';
import { html } from '../../src/api/reference/html.js';
import { referencePage } from '../../src/api/reference/page.js';
import { documentWithoutServer, withoutServer } from './withoutServer.js';

const app = createApi(withoutServer());
const get = (path: string) => app.request(`http://farebox.test${path}`);

describe('GET /api/v1/docs', () => {
  test('is a page for anybody that fetches from nowhere else, and runs nothing inline', async () => {
    const answer = await get('/api/v1/docs');
    const text = await answer.text();
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(answer.headers.get('content-security-policy')).toMatch(/^default-src 'self'; .*frame-ancestors 'none'/);
    expect(answer.headers.get('content-security-policy')).not.toMatch(/unsafe|\*|https?:|data:/);
    expect(text).not.toMatch(/(?:src|href)="(?:https?:|\/\/|data:|javascript:)/);
    expect(text).not.toMatch(/<script(?![^>]* src=)|\son\w+=|\sstyle=/);
    const files = [...text.matchAll(/(?:src|href)="([^"#]+)"/g)].map(
      ([, file = '']) => new URL(file, 'http://farebox.test/api/v1/docs').pathname,
    );
    expect(files.sort()).toEqual([
      '/api/v1/docs/reference.css',
      '/api/v1/docs/reference.js',
      '/api/v1/docs/reference.svg',
      '/api/v1/openapi.json',
    ]);
    for (const file of files) {
      const found = await get(file);
      expect([found.status, found.headers.get('x-content-type-options')], file).toEqual([200, 'nosniff']);
    }
  });

  test('shows every route and every shape of the document, and every link leads somewhere', async () => {
    const [text, document] = [await (await get('/api/v1/docs')).text(), await documentWithoutServer()];
    const ids = new Set([...text.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id));
    for (const operation of Object.values(document.paths).flatMap((methods) => Object.values(methods)))
      expect(ids.has(operation.operationId), operation.operationId).toBe(true);
    for (const name of Object.keys(document.components.schemas)) expect(ids.has(`shape-${name}`), name).toBe(true);
    const broken = [...text.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id).filter((id) => !ids.has(id));
    expect(broken).toEqual([]);
    expect([...text.matchAll(/\sid="([^"]+)"/g)].length, 'no id twice').toBe(ids.size);
  });

  test('examples are bodies the document itself would take', async () => {
    const text = await (await get('/api/v1/docs')).text();
    expect(text).toContain('-d &#39;{&quot;name&quot;:&quot;…&quot;}&#39;');
    expect(text).not.toMatch(/undefined|\[object|NaN/);
  });
});

test('whatever a document says is shown as text', () => {
  const evil = '<img src=x onerror=alert(1)>"\'&';
  const operation = {
    operationId: 'x',
    summary: evil,
    tags: [evil],
    security: [{ session: [evil] }],
    responses: { 200: { description: evil, content: {} } },
  };
  const shape = { type: 'object', properties: { [evil]: { type: 'string', description: evil, pattern: evil, enum: [evil] } } };
  const page = referencePage({
    info: { title: evil, version: '1', description: evil },
    tags: [{ name: evil, description: evil }],
    paths: { [`/${evil}`]: { get: operation } },
    components: { schemas: { [evil]: shape } },
  });
  expect(page).not.toContain('<img');
  expect(html`<b title="${evil}">${[html`<i>${1}</i>`, null, evil]}</b>`.html).toBe(
    '<b title="&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;"><i>1</i>&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;</b>',
  );
});
