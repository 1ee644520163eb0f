import { hash } from 'node:crypto';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

const nameForm = new RegExp(`^[a-z0-9]([a-z0-9._@-]{0,${limits.maxUserNameChars - 2}}[a-z0-9])?$`);

/** The name that was meant, in lower case; undefined for what can be nobody's. */
export function readUserName(text: string): string | undefined {
  const name = text.toLowerCase();
  return nameForm.test(name) ? name : undefined;
}

/** @throws AppError `validation.body`. */
export function requireUserName(text: string): string {
  const name = readUserName(text);
  if (name !== undefined) return name;
  throw new AppError(
    'validation.body',
    `name: expected 1 to ${limits.maxUserNameChars} letters, digits, dots, hyphens, underscores and @, beginning and ending with a letter or digit`,
    { details: { field: 'name' } },
  );
}

/**
 * What is hashed for a password: NFC, so that it is the same from every keyboard (NIST SP 800-63B, 3.1.1.2). Undefined for what
 * cannot be anybody's.
 */
export function readPassword(text: string): string | undefined {
  // Before normalisation, which may lengthen a text several times: nobody pays for megabytes.
  if (text.length > 2 * limits.maxPasswordChars) return undefined;
  const password = text.normalize('NFC');
  const chars = [...password].length;
  return chars >= limits.minPasswordChars && chars <= limits.maxPasswordChars ? password : undefined;
}

/** @throws AppError `validation.body`; the message never repeats it. */
export function requirePassword(text: string, field = 'password'): string {
  const password = readPassword(text);
  if (password !== undefined) return password;
  throw new AppError(
    'validation.body',
    `${field}: expected ${limits.minPasswordChars} to ${limits.maxPasswordChars} characters, of any kind`,
    { details: { field } },
  );
}

/** SHA-256 of a random token's text: what is stored of it. */
export function credentialHash(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}
