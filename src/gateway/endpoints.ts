export type EndpointKind = 'chat' | 'completions' | 'embeddings';

/** One priced path. Another endpoint is another row. */
export interface Endpoint {
  readonly kind: EndpointKind;
  /** The path after `/v1`, the same for clients and upstreams. */
  readonly path: string;
  readonly canStream: boolean;
  /** Its usage report names output tokens. */
  readonly hasOutput: boolean;
}

export const ENDPOINTS: readonly Endpoint[] = [
  { kind: 'chat', path: '/chat/completions', canStream: true, hasOutput: true },
  { kind: 'completions', path: '/completions', canStream: true, hasOutput: true },
  { kind: 'embeddings', path: '/embeddings', canStream: false, hasOutput: false },
];

const BY_PATH = new Map(ENDPOINTS.map((endpoint) => [`/v1${endpoint.path}`, endpoint]));

/** Exact paths only: `//v1`, `/V1`, encoded slashes and trailing dots are other paths, and other paths are refused. */
export const endpointOf = (path: string): Endpoint | undefined => BY_PATH.get(path);
