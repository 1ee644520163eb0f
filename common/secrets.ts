/*
 * What of a container's variables, labels and arguments may be told: entries are for ever and for everybody who audits them. Rather
 * too much is hidden than too little; that two values differ is told in any case.
 */

const hidden = '(hidden)';
/** Longer values are not looked into, which takes quadratic time, and not told. */
const maxShownChars = 2_048;

/** Names of what nobody else is to read. */
const secretName =
  /pass|pwd|secret|token|cred|key|salt|cert|private|session|cookie|signature|jwt|dsn|(^|[_.-])(pw|pin|pat|sk|sig|auth|otp|mfa)([_.-]|$)/i;
/** The same inside a value: `password=...`, `"token": "..."`. */
const secretInside =
  /(pass(word|wd|phrase)?|pwd|secret|token|credentials?|(api|access|private|account|shared)[_-]?key|sig|signature)["']?\s*[=:]/i;
/** Long and mixed: keys, hashes of them, tokens. */
const random = /(?=[A-Za-z+/_=-]*\d)(?=[\d+/_=-]*[A-Za-z])[A-Za-z0-9+/_=-]{32,}/;
/** All before the last `@` of an address, which may hold a slash; and what is asked for behind it. */
const userInUrl = /:\/\/\S*@/g;
const queryInUrl = /(:\/\/[^\s?#]*)[?#]\S*/g;

/** Whether a value under this name is not to be shown, nor quoted in a mistake. */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}

/** Whether a text is certainly the name of a variable, and no part of a secret that was split. */
export function isPlainName(text: string): boolean {
  return /^[A-Z_][A-Z0-9_]{0,60}$/.test(text);
}

/** A value under a name, as much of it as may be told. */
export function shownValue(name: string, value: string | undefined): string | undefined {
  if (value === undefined || value === '') return value;
  return isSecretName(name) ? hidden : shownText(value);
}

function shownText(value: string): string {
  if (value.length > maxShownChars) return hidden;
  const shown = value.replace(userInUrl, `://${hidden}@`).replace(queryInUrl, `$1?${hidden}`);
  return secretInside.test(shown) || random.test(shown) ? hidden : shown;
}

/** The words of a command line, as much of them as may be told. */
export function withoutSecrets(words: readonly string[]): readonly string[] {
  return words.map((word, at) => {
    const [name = '', ...value] = word.split('=');
    if (value.length > 0 && isSecretName(name)) return `${name}=${hidden}`;
    const before = words[at - 1] ?? '';
    if (before.startsWith('-') && !before.includes('=') && isSecretName(before)) return hidden;
    // As mysql takes it: the password right behind the letter.
    return /^-p[^-\s]{3,}/.test(word) ? `-p${hidden}` : shownText(word);
  });
}
