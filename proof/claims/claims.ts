import type { Claim } from './claim.js';
import { deployClaim } from './deploy.js';
import { healClaim } from './heal.js';
import { killsClaim } from './kills.js';
import { outageClaim } from './outage.js';
import { overloadClaim } from './overload.js';
import { overspendClaim } from './overspend.js';
import { secretsClaim } from './secrets.js';
import { soakClaim } from './soak.js';
import { stallClaim } from './stall.js';

export const CLAIMS: readonly Claim[] = [
  killsClaim,
  overspendClaim,
  outageClaim,
  healClaim,
  deployClaim,
  soakClaim,
  overloadClaim,
  stallClaim,
  secretsClaim,
];
