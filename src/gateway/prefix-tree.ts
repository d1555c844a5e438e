// Whose route is this path? The entry with the longest prefix, found segment by segment: the time
// grows with the depth of the prefixes, not with their number.
//
//   PX1. It answers what trying all prefixes with `matchesPrefix`, longest first, would answer.

interface Node<E> {
  readonly below: Map<string, Node<E>>;
  entry: E | undefined;
}

export interface PrefixTree<E> {
  find(path: string): E | undefined;
}

/** Entries must come longest prefix first: of two for the same path the first one stays. */
export function openPrefixTree<E>(
  entries: readonly E[],
  prefixOf: (entry: E) => string,
): PrefixTree<E> {
  const root: Node<E> = { below: new Map(), entry: undefined };
  for (const entry of entries) {
    let node = root;
    for (const segment of segmentsOf(prefixOf(entry))) {
      let next = node.below.get(segment);
      if (next === undefined) {
        next = { below: new Map(), entry: undefined };
        node.below.set(segment, next);
      }
      node = next;
    }
    node.entry ??= entry;
  }
  return { find: (path) => findIn(root, path) };
}

/** `/a/b` and `/a/b/` are the same prefix; `/` and the empty one are that of every path. */
function segmentsOf(prefix: string): readonly string[] {
  if (prefix === '' || prefix === '/') return [];
  return (prefix.endsWith('/') ? prefix.slice(0, -1) : prefix).split('/');
}

function findIn<E>(root: Node<E>, path: string): E | undefined {
  let node: Node<E> | undefined = root;
  let found = root.entry;
  for (let from = 0; from <= path.length && node.below.size > 0;) {
    const slash = path.indexOf('/', from);
    const end = slash < 0 ? path.length : slash;
    node = node.below.get(path.slice(from, end));
    if (node === undefined) return found;
    found = node.entry ?? found;
    from = end + 1;
  }
  return found;
}
