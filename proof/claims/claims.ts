import type { Claim } from './claim.js';
import { deployClaim } from './deploy.js';
import { soakClaim } from './soak.js';

export const CLAIMS: readonly Claim[] = [deployClaim, soakClaim];
