// How is a number of things said to a person? "1 finding", "2 findings".

export function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? '' : 's'}`;
}
