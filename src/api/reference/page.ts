import type { Operation, Parameter, ReferenceDocument } from './document.js';
import { type Html, html, prose } from './html.js';
import { exampleOf, fieldsOf, joined, limitsOf, typeOf } from './shapes.js';

interface Listed {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/** The document as one page that needs nothing but this server: it reads without any script, and on a small screen. */
export function referencePage(document: ReferenceDocument): string {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Listed => ({ method, path, operation })),
  );
  const groups = document.tags
    .map((tag) => ({ ...tag, routes: all.filter(({ operation }) => operation.tags.includes(tag.name)) }))
    .filter(({ routes }) => routes.length > 0);
  const shapes = Object.entries(document.components.schemas).sort(([a], [b]) => (a < b ? -1 : 1));
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${document.info.title}</title>
<link rel="stylesheet" href="docs/reference.css">
<link rel="icon" type="image/svg+xml" href="docs/reference.svg">
<script src="docs/reference.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the routes</a>
<header>
<h1>${document.info.title}</h1>
${document.info.description.split('\n\n').map((text) => html`<p>${prose(text)}</p>`)}
<p>The same for programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
</header>
<div class="columns">
<nav aria-label="Routes">
<label class="filter" hidden>Filter <input id="filter" type="search" autocomplete="off" placeholder="limits, POST, tokens…"></label>
<details id="contents" open><summary>Contents</summary>
<ul>${groups.map(({ name, routes }) => html`<li><a href="#tag-${slug(name)}">${name}</a><ul>${routes.map(navItem)}</ul></li>`)}
<li><a href="#shapes">shapes</a></li></ul>
</details>
</nav>
<main id="main">
<p id="nothing" hidden>No route matches.</p>
${groups.map(({ name, description, routes }) => html`<section class="tag" aria-labelledby="tag-${slug(name)}"><h2 id="tag-${slug(name)}">${name}</h2><p>${prose(description)}.</p>${routes.map((one) => route(one, document))}</section>`)}
<section class="tag" aria-labelledby="shapes"><h2 id="shapes">Shapes</h2>
${shapes.map(([name, shape]) => html`<article class="shape" id="shape-${name}"><h3>${name}</h3>${fieldsOf(shape) ?? html`<p>${typeOf(shape)}</p>`}</article>`)}
</section>
</main>
</div>
</body>
</html>
`;
  return page.html;
}

const slug = (name: string): string => name.replaceAll(' ', '-');

const navItem = ({ method, path, operation }: Listed): Html =>
  html`<li><a href="#${operation.operationId}"><span class="method ${method}">${method.toUpperCase()}</span> ${short(path)}</a></li>`;

/** What all paths begin with says nothing in a list. */
const short = (path: string): string => path.replace(/^\/api\/v1\/(?:orgs\/\{org\}(?=\/))?/, '').replace(/^(?!\/)/, '/');

function route({ method, path, operation }: Listed, document: ReferenceDocument): Html {
  const body = operation.requestBody?.content['application/json']?.schema;
  const needed = operation.requestBody?.required === true ? null : html` <span class="notes">may be absent</span>`;
  return html`<article class="route" id="${operation.operationId}" data-text="${`${method} ${path} ${operation.summary}`.toLowerCase()}">
<h3><span class="method ${method}">${method.toUpperCase()}</span> <code>${breakable(path)}</code> <a class="anchor" href="#${operation.operationId}" aria-label="Link to this route">#</a></h3>
<p>${prose(operation.summary)}.</p>
<p class="who">${whoOf(operation)}</p>
${parametersOf(operation.parameters ?? [])}
${body ? html`<h4>Body${needed}</h4>${fieldsOf(body) ?? html`<p>${typeOf(body)}</p>`}` : null}
<h4>Answers</h4>
<dl>${Object.entries(operation.responses).map(([status, one]) => answerOf(status, one))}</dl>
<h4>Try it</h4>
<pre tabindex="0"><code>${curlOf({ method, path, operation }, document)}</code></pre>
</article>`;
}

/** Long paths break after a slash. */
const breakable = (path: string): Html => html`${path.split('/').map((part, i) => (i === 0 ? html`${part}` : html`/<wbr>${part}`))}`;

function whoOf({ security, 'x-step-up': stepUp }: Operation): Html {
  if (security.length === 0) return html`Anybody.`;
  const words = security.flatMap((one) => Object.entries(one).map(([scheme, names]) => caller(scheme, names)));
  return html`For ${joined(words, '; ')}.${stepUp ? html` People have to show that it is them, within the last ten minutes.` : null}`;
}

function caller(scheme: string, names: readonly string[]): Html {
  const named = joined(
    names.map((name) => html`<code>${name}</code>`),
    scheme === 'managementKey' ? ' and ' : ' or ',
  );
  if (scheme === 'operatorKey') return html`the operator key`;
  if (scheme === 'managementKey') return names.length > 0 ? html`management keys with ${named}` : html`any management key`;
  return names.length > 0 ? html`people with ${named}` : html`people who are signed in`;
}

function parametersOf(parameters: readonly Parameter[]): Html | null {
  if (parameters.length === 0) return null;
  const places: Readonly<Record<string, string>> = { path: 'in the path', query: 'in the query', header: 'as a header' };
  const rows = parameters.map(({ name, in: place, required, description, schema }) => {
    const notes = joined([html`${places[place] ?? place}`, ...(required ? [html`required`] : []), ...limitsOf(schema)], ', ');
    const says = description ?? schema.description;
    return html`<li><code class="name">${name}</code> <span class="type">${typeOf(schema)}</span> <span class="notes">${notes}</span>${says === undefined ? null : html`<br><span class="said">${prose(says)}</span>`}</li>`;
  });
  return html`<h4>Parameters</h4><ul class="fields">${rows}</ul>`;
}

function answerOf(status: string, { description, content }: Operation['responses'][string]): Html {
  const kinds = Object.entries(content).map(([media, { schema }]) =>
    media === 'application/json'
      ? html`<span class="type">${typeOf(schema)}</span>${fieldsOf(schema)}`
      : html`<span class="type">${media}</span>`,
  );
  return html`<dt>${status === 'default' ? 'otherwise' : status}</dt><dd>${prose(description)}: ${kinds}</dd>`;
}

/** The path with examples in it, as it would be asked for. */
function curlOf({ method, path, operation }: Listed, { components }: ReferenceDocument): string {
  const inPath = new Map((operation.parameters ?? []).filter((one) => one.in === 'path').map((one) => [one.name, one.schema.example]));
  const filled = path.replaceAll(/\{(\w+)\}/g, (all, name: string) => String(inPath.get(name) ?? all));
  const query = (operation.parameters ?? [])
    .filter((one) => one.in === 'query' && one.required)
    .map((one) => `${one.name}=${String(exampleOf(one.schema, components.schemas))}`);
  const url = `"$FAREBOX_URL${filled}${query.length > 0 ? `?${query.join('&')}` : ''}"`;
  const body = operation.requestBody?.content['application/json']?.schema;
  const lines = [
    `curl ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}${url}`,
    ...(operation.security.length > 0 ? [`-H "Authorization: Bearer $KEY"`] : []),
    ...(operation.parameters?.some((one) => one.name === 'Idempotency-Key') ? [`-H "Idempotency-Key: $(uuidgen)"`] : []),
    ...(body ? [`-H "Content-Type: application/json"`, `-d '${JSON.stringify(exampleOf(body, components.schemas))}'`] : []),
  ];
  return lines.join(' \\\n  ');
}
