import type { Claim } from './claim.js';
import { deployClaim } from './deploy.js';

export const CLAIMS: readonly Claim[] = [deployClaim];
