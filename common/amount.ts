/** A number of things, in words: `1 entry`, `0 entries`, `2 stores`. @param many where the plural is more than an `s` */
export function amount(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
