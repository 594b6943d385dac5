// Filters the routes while one types, and keeps what was typed in the address. The page reads without it.
const box = document.querySelector('#filter');
const routes = [...document.querySelectorAll('.route')];
const sections = [...document.querySelectorAll('.tag')];
const contents = document.querySelector('#contents');

function show() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (text) => words.every((word) => text.includes(word));
  let found = 0;
  for (const route of routes) {
    route.hidden = !matches(route.dataset.text);
    if (!route.hidden) found += 1;
    const item = document.querySelector(`nav a[href="#${route.id}"]`);
    if (item) item.parentElement.hidden = route.hidden;
  }
  for (const section of sections) {
    const own = section.querySelectorAll('.route');
    section.hidden = words.length > 0 && (own.length === 0 || [...own].every((route) => route.hidden));
    const item = document.querySelector(`nav a[href="#${section.querySelector('h2').id}"]`);
    if (item) item.parentElement.hidden = section.hidden;
  }
  document.querySelector('#nothing').hidden = found > 0;
  history.replaceState(null, '', `${words.length > 0 ? `?q=${encodeURIComponent(box.value)}` : location.pathname}${location.hash}`);
}

box.parentElement.hidden = false;
box.value = new URLSearchParams(location.search).get('q') ?? '';
box.addEventListener('input', show);
if (box.value) show();
document.addEventListener('keydown', (event) => {
  const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? '');
  if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  box.focus();
});
// On a small screen the list would stand between the reader and the routes.
if (matchMedia('(max-width: 60rem)').matches) contents.open = false;
