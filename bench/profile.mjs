import { readFileSync } from 'node:fs';

/** The busiest places of a CPU profile, by self time: first by package or folder, then by function. Shares are of busy time. */
export function describeProfile(file, rows = 25) {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, 'utf8'));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const places = new Map();
  const functions = new Map();
  let busy = 0;
  samples.forEach((id, index) => {
    const { functionName, url, lineNumber } = byId.get(id).callFrame;
    if (functionName === '(idle)' || functionName === '(root)') return;
    const spent = timeDeltas[index] ?? 0;
    const place = placeOf(url, functionName);
    busy += spent;
    places.set(place, (places.get(place) ?? 0) + spent);
    const name = `${functionName || '(anonymous)'} ${place}${url.startsWith('file:') ? `:${lineNumber + 1}` : ''}`;
    functions.set(name, (functions.get(name) ?? 0) + spent);
  });
  const table = (title, map, count) => {
    const lines = [...map].sort((a, b) => b[1] - a[1]).slice(0, count);
    return [title, ...lines.map(([name, spent]) => `${((100 * spent) / busy).toFixed(1).padStart(6)} %  ${name}`)].join('\n');
  };
  return `${table('By place', places, 12)}\n\n${table('By function', functions, rows)}`;
}

function placeOf(url, name) {
  if (url === '') return name.startsWith('(') ? name : 'native';
  if (url.startsWith('node:')) return `node:${url.slice(5).split('/').slice(0, 2).join('/')}`;
  const parts = url.split('/node_modules/');
  if (parts.length > 1)
    return parts
      .at(-1)
      .split('/')
      .slice(0, parts.at(-1).startsWith('@') ? 2 : 1)
      .join('/');
  return url.slice(url.indexOf('/src/') + 1) || url;
}
