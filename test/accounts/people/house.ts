import { createHash, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Somebody as another house knows them. */
export interface Claims {
  readonly sub: string;
  readonly email: string;
  readonly email_verified?: boolean;
  readonly name?: string;
}

export interface House {
  readonly issuer: string;
  /** Signs somebody in there: what the browser comes back with. */
  visit(url: string, claims: Claims): Record<string, string>;
  /** What it does from now on instead of answering as it should. */
  misbehave(how: 'wrong_nonce' | 'wrong_key' | 'away' | null): void;
  close(): Promise<void>;
}

interface Visit {
  readonly claims: Claims;
  readonly nonce: string | null;
  readonly challenge: string | null;
  readonly clientId: string;
}

/** A real OpenID Connect provider over HTTP: discovery, keys, code with PKCE, signed identity. */
export async function openHouse(): Promise<House> {
  const visits = new Map<string, Visit>();
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  let how: 'wrong_nonce' | 'wrong_key' | 'away' | null = null;
  const server: Server = createServer((req, res) => {
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    answer(req, issuer).then(
      (body) => res.writeHead(body ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {})),
      () => res.writeHead(400).end('{}'),
    );
  });
  const answer = async (req: IncomingMessage, issuer: string): Promise<object | undefined> => {
    if (how === 'away') return undefined;
    const path = req.url ?? '';
    if (path === '/.well-known/openid-configuration') {
      const [authorization_endpoint, token_endpoint, jwks_uri] = ['authorize', 'token', 'keys'].map((name) => `${issuer}/${name}`);
      return { issuer, authorization_endpoint, token_endpoint, jwks_uri, id_token_signing_alg_values_supported: ['RS256'] };
    }
    if (path === '/keys') return { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' }] };
    const form = new URLSearchParams(await text(req));
    const code = form.get('code') ?? '';
    const visit = visits.get(code);
    visits.delete(code);
    if (!visit) throw new Error('no such code');
    const shown = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    if (visit.challenge !== shown) throw new Error('another browser asked');
    const nonce = how === 'wrong_nonce' ? 'of another sign-in' : visit.nonce;
    const now = Math.floor(Date.now() / 1000);
    const claims = { ...visit.claims, iss: issuer, aud: visit.clientId, iat: now, exp: now + 60, nonce };
    return { access_token: 'of no use here', token_type: 'Bearer', id_token: signed(claims, how === 'wrong_key' ? other : privateKey) };
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    issuer: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    visit: (url, claims) => {
      const asked = new URL(url).searchParams;
      const code = `code-${visits.size}-${Math.random().toString(36).slice(2)}`;
      visits.set(code, {
        claims,
        nonce: asked.get('nonce'),
        challenge: asked.get('code_challenge'),
        clientId: asked.get('client_id') ?? '',
      });
      return { code, state: asked.get('state') ?? '' };
    },
    misbehave: (next) => {
      how = next;
    },
    close: () => new Promise((done) => server.close(() => done())),
  };
}

function signed(claims: object, key: KeyObject): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${part({ alg: 'RS256', kid: 'one', typ: 'JWT' })}.${part(claims)}`;
  return `${head}.${createSign('RSA-SHA256').update(head).sign(key).toString('base64url')}`;
}

async function text(req: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of req) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}
