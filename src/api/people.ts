import type { ApiDeps } from './deps.js';
import { invitationRoutes } from './invitations.js';
import { meRoutes } from './me.js';
import { memberRoutes } from './members.js';
import { ownAccountRoutes } from './ownAccount.js';
import { peopleAdminRoutes } from './peopleAdmin.js';
import { passwordRoutes } from './peoplePassword.js';
import { providerRoutes } from './peopleProvider.js';
import { signUpRoutes } from './peopleSignUp.js';
import { totpRoutes } from './peopleTotp.js';
import type { Route } from './route.js';
import { secondFactorRuleRoutes } from './secondFactorRule.js';
import { sessionRoutes } from './sessions.js';

/** Everything people do about themselves and each other. */
export const peopleRoutes = (deps: ApiDeps): readonly Route[] => [
  ...signUpRoutes(deps),
  ...sessionRoutes(deps),
  ...passwordRoutes(deps),
  ...totpRoutes(deps),
  ...providerRoutes(deps),
  ...meRoutes(deps),
  ...ownAccountRoutes(deps),
  ...invitationRoutes(deps),
  ...memberRoutes(deps),
  ...secondFactorRuleRoutes(deps),
  ...peopleAdminRoutes(deps),
];
