/** Those of `limits` that users, sessions and tokens are bounded by. */
export const authLimits = {
  maxUserNameChars: 64,
  /** In characters (code points) after normalisation. NIST SP 800-63B asks for room, and for no rules about what is in it. */
  minPasswordChars: 12,
  maxPasswordChars: 256,

  /** Argon2id as OWASP's password storage sheet has it. Each hashing takes this memory, and a thread for some 30 ms. */
  argon2MemoryKiB: 19_456,
  argon2Passes: 2,
  argon2Lanes: 1,
  /** Of the four threads that Node.js has for files, names and cryptography, two stay free whatever comes in. */
  maxHashings: 2,
  /** Beyond that whoever comes is sent away at once: some two seconds of work. */
  maxHashingsWaiting: 100,

  /** Failed sign-ins under one name, and from one address, within the window; then no password is looked at until it ends. */
  signInFailuresPerName: 10,
  signInFailuresPerAddress: 100,
  signInWindowMs: 15 * 60_000,

  accessTokenMs: 15 * 60_000,
  minAccessTokenMs: 60_000,
  maxAccessTokenMs: 3_600_000,
  /** Clocks of two collectors may differ by so much. */
  tokenClockToleranceMs: 5_000,
  /** In base64url with its two dots; one of ours has some 500. */
  maxCredentialChars: 4_096,
  /** How long a session lasts at most, and how long without being refreshed. */
  sessionMs: 30 * 86_400_000,
  sessionIdleMs: 7 * 86_400_000,
  maxSessionMs: 366 * 86_400_000,
  /** Of one user at a time; the one refreshed longest ago ends when another is begun. */
  maxSessionsPerUser: 50,
  /** How long it is believed that a session or token still stands, where another collector has changed that. */
  standingBelievedMs: 1_000,
  maxStandingBelieved: 10_000,

  maxApiTokenNameChars: 64,
  maxApiTokensPerOwner: 100,
  apiTokenMs: 90 * 86_400_000,
  minApiTokenMs: 60_000,
  maxApiTokenMs: 366 * 86_400_000,
  /** It is written down at most so often that an API token was used. */
  apiTokenUseNotedMs: 60_000,

  /** Of refusals alike one is put on record in this time. */
  refusalTellMs: 60_000,
  maxRefusalsRemembered: 10_000,

  /** A command takes new tokens where those it has are good for less. */
  accessTokenLeftMs: 30_000,
  /** A lock of the kept sign-in that is older is left over. */
  savedLoginLockMs: 90_000,
  savedLoginLookMs: 50,

  setupCodeMs: 86_400_000,
  /** How often what is over is deleted, and how long ended sessions and tokens are shown before. */
  authTidyMs: 3_600_000,
  endedCredentialMs: 30 * 86_400_000,
} as const;
