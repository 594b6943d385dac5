import { resolve } from 'node:path';

/** What a person sees while the server starts. Progress first, never silence; then where everything is. */
export interface Progress {
  /** Something begins that may take a moment. */
  working(words: string): void;
  done(words: string): void;
}

export function createProgress(write: (text: string) => void = (text) => process.stdout.write(text)): Progress {
  return {
    working: (words) => write(`  … ${words}\n`),
    done: (words) => write(`  ✓ ${words}\n`),
  };
}

export interface FirstCustomer {
  readonly orgId: string;
  readonly orgName: string;
  readonly secret: string;
  readonly trialCredits: string;
}

export interface Place {
  readonly url: string;
  readonly dataDir: string;
  readonly operatorKeyFile: string | null;
  /** Where the first operator makes an account; null once there is one. */
  readonly setupLink: string | null;
  readonly mode: 'embedded' | 'database' | 'cluster';
}

/** The first start: everything needed for the first request, and a line that works as it is pasted. */
export function firstStart(place: Place, customer: FirstCustomer): string {
  return `${whereItIs(place)}
  organization  ${customer.orgId}  (${customer.orgName})
  token         ${customer.secret}
                ${customer.trialCredits} trial credits. The token is shown only now: keep it.

Try it. The built-in model "demo" needs no provider key:

${curl(place.url, customer.secret)}
`;
}

export function laterStart(place: Place, organizations: number): string {
  const what = organizations === 1 ? '1 organization' : `${organizations} organizations`;
  return `${whereItIs(place)}
  found         ${what} from before. Tokens are shown once; make another with:
                npm run -s farebox -- token create --org ORG_ID --name NAME
`;
}

function whereItIs(place: Place): string {
  const key = place.operatorKeyFile ? resolve(place.operatorKeyFile) : 'from FAREBOX_OPERATOR_KEY';
  const setup = place.setupLink
    ? `\n  your account  ${place.setupLink}\n                (make the first operator's account there; it works once)`
    : '';
  return `
Farebox listens on ${place.url}
  OpenAI base URL  ${place.url}/v1
  operator key  ${key}${setup}
  data          ${resolve(place.dataDir)}
  mode          ${MODES[place.mode]}
`;
}

const MODES = {
  embedded:
    'embedded: for evaluation and small installations. Set DATABASE_URL and REDIS_URL to move on; see README, "Going to production".',
  database: 'one process on Postgres. Set REDIS_URL as well to use every core.',
  cluster: 'Redis and Postgres, one gateway process per core.',
} as const;

const curl = (url: string, secret: string): string => `curl ${url}/v1/chat/completions \\
  -H "Authorization: Bearer ${secret}" \\
  -H "Content-Type: application/json" \\
  -d '{"model":"demo","messages":[{"role":"user","content":"Hello"}]}'
`;
