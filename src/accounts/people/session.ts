/** The person behind a session cookie, as it stands this very moment. */
export interface SignedIn {
  /** `usr_…` */
  readonly personId: string;
  readonly email: string;
  readonly name: string;
  readonly sessionId: string;
  /** The last proof by password or TOTP; a step-up asks for one of the last ten minutes. */
  readonly authenticatedAt: Date;
  readonly twoFactor: boolean;
  readonly operatorRole: OperatorRole | null;
}

export type OperatorRole = 'operator.admin' | 'operator.support' | 'operator.finance';

export interface Sessions {
  /** Null for no session, an ended one and one of a disabled person alike. */
  read(headers: Headers): Promise<SignedIn | null>;
}
