/** Whether `*` for any run of characters and `?` for one make `glob` fit; never slower than their lengths multiplied. */
export function matchesGlob(glob: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let retryAt = 0;
  for (let i = 0; i < text.length; ) {
    if (glob[at] === '*') {
      star = at++;
      retryAt = i;
    } else if (at < glob.length && (glob[at] === '?' || glob[at] === text[i])) {
      at++;
      i++;
    } else if (star === -1) return false;
    else {
      at = star + 1;
      i = ++retryAt;
    }
  }
  return /^\**$/.test(glob.slice(at));
}
