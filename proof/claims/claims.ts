import type { Claim } from './claim.js';
import { deployClaim } from './deploy.js';
import { overspendClaim } from './overspend.js';
import { soakClaim } from './soak.js';

export const CLAIMS: readonly Claim[] = [overspendClaim, deployClaim, soakClaim];
