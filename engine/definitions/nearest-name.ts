/** The name that was probably meant: equal but for case and `_` or `-`, or a letter or two away. Null: none is near. */
export function nearestName(given: string, known: readonly string[]): string | null {
  const wanted = plain(given);
  let nearest: string | null = null;
  // Of a name of three letters one may be wrong, of one of six two.
  let least = Math.min(2, Math.floor(wanted.length / 3)) + 1;
  for (const name of known) {
    const distance = editDistance(wanted, plain(name));
    if (distance >= least) continue;
    nearest = name;
    least = distance;
  }
  return nearest;
}

/** Long texts are no misspelt names; cut, they cost no time. */
const plain = (name: string): string => name.slice(0, 40).toLowerCase().replaceAll(/[_-]/g, '');

/** Letters to put in, take out, replace or swap with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
