import { describe, expect, test } from 'vitest';
import { apiRoutes, shortForms } from '../../src/api/app.js';
import { BODY_BYTES_MAX } from '../../src/api/body.js';
import { COMPAT_PATHS } from '../../src/api/compat/compat.js';
import { ORGANIZATION_PATHS } from '../../src/api/compat/organization.js';
import { referenceRoutes } from '../../src/api/reference/routes.js';
import { newOperatorKey, newTokenSecret } from '../../src/domain/secrets.js';
import { OPERATOR_KEY, useApi } from './harness.js';

const api = useApi();
const ORGS = '/api/v1/admin/orgs';

/** A path of a route with ids that have the right form. */
const concrete = (path: string): string =>
  path
    .replace('{org}', 'org_07AAAAAAAAAAAAAA')
    .replace('{token}', 'tok_07AAAAAAAAAAAA')
    .replace('{request_id}', 'req_019ab0f4c2d87c3ea1b2c3d4e5f60718');

/** What people need before they are anybody here. A route that is public and not in this list is a mistake. */
const FOR_ANYBODY = [
  'GET /api/v1/auth/callback/{provider}',
  'GET /api/v1/auth/session',
  'GET /api/v1/pricing/public',
  'POST /api/v1/auth/email/confirm',
  'POST /api/v1/auth/email/resend',
  'POST /api/v1/auth/email/verify',
  'POST /api/v1/auth/invitation/look',
  'POST /api/v1/auth/oauth/{provider}',
  'POST /api/v1/auth/password/forgot',
  'POST /api/v1/auth/password/reset',
  'POST /api/v1/auth/setup',
  'POST /api/v1/auth/sign-in',
  'POST /api/v1/auth/sign-out',
  'POST /api/v1/auth/sign-up',
  'POST /api/v1/auth/totp/backup-code',
  'POST /api/v1/auth/totp/verify',
];

describe('who may ask', () => {
  test('every route but those of signing in declares a permission and refuses whoever has none', async () => {
    const routes = apiRoutes(api.deps);
    const open = routes.filter(({ permission }) => permission === 'public').map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(open.sort()).toEqual(FOR_ANYBODY);
    expect(routes.length).toBeGreaterThan(15);
    for (const { method, path, permission } of routes.filter((one) => one.permission !== 'public')) {
      expect(permission.startsWith('operator.'), path).toBe(path.startsWith('/api/v1/admin/'));
      const send = (authorization: string) => api.call(method.toUpperCase(), concrete(path), undefined, { authorization });
      expect((await send(`Bearer ${newOperatorKey()}`)).status, path).toBe(401);
      expect((await send(`Bearer ${newTokenSecret('tok_07AAAAAAAAAAAA' as never)}`)).body['code'], path).toBe('wrong_credential');
    }
  });

  test('every path that answers is in the table of routes', () => {
    const routes = apiRoutes(api.deps);
    const named = [...routes, ...shortForms(routes)].map(({ path }) => path.replaceAll(/\{(\w+)\}/g, ':$1'));
    const pages = referenceRoutes(() => ({})).map(({ path }) => path);
    const known = new Set([...named, '/api/v1/openapi.json', ...pages, ...COMPAT_PATHS, ...ORGANIZATION_PATHS]);
    const served = api.app.routes.map(({ path }) => path).filter((path) => path !== '/*');
    expect(served.length).toBeGreaterThan(15);
    expect(served.filter((path) => !known.has(path))).toEqual([]);
  });

  test.each([
    ['', 401],
    ['Bearer', 401],
    ['Bearer ', 401],
    ['Basic b2s6b2s=', 401],
    [`bearer ${OPERATOR_KEY}`, 200],
    [`Bearer  ${OPERATOR_KEY}`, 200],
    [`Bearer ${OPERATOR_KEY} x`, 401],
    [`Bearer ${OPERATOR_KEY.slice(0, -1)}c`, 401],
    [`Bearer ${OPERATOR_KEY.toLowerCase()}`, 401],
    ["Bearer ' OR '1'='1", 401],
    ['Bearer mk-fb-something', 401],
    [OPERATOR_KEY, 401],
  ])('Authorization: %s', async (authorization, status) => {
    const reply = await api.call('GET', ORGS, undefined, { authorization });
    expect(reply.status).toBe(status);
    expect(reply.text).not.toContain(OPERATOR_KEY);
    if (status === 401) expect(reply.headers.get('www-authenticate')).toContain('Bearer');
  });

  test('cookies and keys in the address open nothing', async () => {
    const headers = { authorization: '', cookie: `__Host-session=${OPERATOR_KEY}`, 'x-api-key': OPERATOR_KEY };
    expect((await api.call('GET', `${ORGS}?key=${OPERATOR_KEY}`, undefined, headers)).status).toBe(401);
  });

  test('a credential is asked for before anything is read', async () => {
    expect((await api.call('POST', ORGS, '{broken', { authorization: '' })).status).toBe(401);
  });
});

describe('what is not there', () => {
  test.each([
    '//api/v1/admin/orgs',
    '/api/v1/admin%2forgs',
    '/API/v1/admin/orgs',
    '/api/v1/admin/orgs/',
    '/api/v1/admin/orgs;x',
    '/api/v1/admin/orgs.',
    '/api',
    '/api/v2/orgs',
    '/api/v1/%00',
  ])('404: %s', async (path) => {
    const reply = await api.call('GET', path);
    expect([reply.status, reply.headers.get('content-type')]).toEqual([404, 'application/problem+json']);
  });

  test('405 names the methods there are', async () => {
    const reply = await api.call('DELETE', ORGS);
    expect([reply.status, reply.headers.get('allow')]).toEqual([405, 'POST, GET, HEAD']);
    expect((await api.call('OPTIONS', ORGS)).status).toBe(405);
  });
});

describe('bodies', () => {
  const post = (body: string, headers?: Record<string, string>) => api.call('POST', ORGS, body, headers);

  test('413: more than a megabyte, announced or not', async () => {
    const big = JSON.stringify({ name: 'x'.repeat(BODY_BYTES_MAX) });
    expect((await post(big)).status).toBe(413);
    expect((await post('{}', { 'content-length': '99999999' })).status).toBe(413);
  });

  test('415: anything but plain JSON', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/json; charset=utf-16',
      '',
    ])
      expect((await post('{"name":"x"}', { 'content-type': type })).status, type).toBe(415);
    expect((await post('{"name":"x"}', { 'content-encoding': 'gzip' })).status).toBe(415);
    expect((await post('{"name":"x"}', { 'content-type': 'application/json; charset=UTF-8' })).status).toBe(201);
  });

  test('400: broken, deep or poisoned JSON', async () => {
    expect((await post('{"name":')).body['code']).toBe('malformed_body');
    expect((await post(`{"name":${'['.repeat(5_000)}${']'.repeat(5_000)}}`)).body['code']).toBe('too_deep');
    expect((await post(`{"name":"${'['.repeat(60)}"}`)).status).toBe(201);
    for (const key of ['__proto__', '\\u005f_proto__', 'constructor', 'prototype'])
      expect((await post(`{"name":"x","${key}":{"polluted":true}}`)).status, key).toBe(400);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('400: texts that no database can keep, as value, as key and in a filter', async () => {
    const org = await api.org();
    for (const bad of ['\\u0000', '\\ud800', 'a\\udfffb']) {
      expect((await post(`{"name":"${bad}"}`)).status, bad).toBe(400);
      expect((await api.call('PATCH', `${ORGS}/${org}`, `{"prices":{"${bad}":"0.5"}}`)).status, bad).toBe(400);
      expect((await api.call('POST', `/api/v1/orgs/${org}/tokens`, `{"name":"x","models":["${bad}"]}`)).status, bad).toBe(400);
    }
    expect((await api.call('GET', `/api/v1/orgs/${org}/logs?model=%00`)).status).toBe(400);
    expect((await post('{"name":"Ünïcödé 🚌 公司"}')).body['name']).toBe('Ünïcödé 🚌 公司');
  });

  test('400: bytes that are no UTF-8', async () => {
    const response = await api.app.request(`http://farebox.test${ORGS}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${OPERATOR_KEY}`, 'content-type': 'application/json' },
      body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    });
    expect(response.status).toBe(400);
  });
});

describe('GET /api/v1/openapi.json', () => {
  test('describes every route, from the schemas that validate', async () => {
    const reply = await api.call('GET', '/api/v1/openapi.json', undefined, { authorization: '' });
    const document = reply.body as unknown as { openapi: string; paths: Record<string, Record<string, { responses: object }>> };
    expect([reply.status, document.openapi]).toEqual([200, '3.1.0']);
    for (const { path, method, answers } of apiRoutes(api.deps)) {
      const responses = document.paths[path]?.[method]?.responses;
      expect(Object.keys(responses ?? {}), `${method} ${path}`).toEqual([...Object.keys(answers), 'default']);
    }
    expect(JSON.stringify(document)).toContain('"Token"');
    expect((await api.call('GET', '/api/v1/openapi.json')).text, 'asking twice adds nothing').toBe(reply.text);
  });
});
