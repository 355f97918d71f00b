/* What Chainlit's bundle expects to find, and the theme before the first paint (no inline script may run). */
var global = globalThis;
(function () {
  // a page that was just opened follows the system until a theme is chosen
  var stored = null;
  try {
    stored = localStorage.getItem('vite-ui-theme');
    if (!stored) localStorage.setItem('vite-ui-theme', 'system');
  } catch (_) {
    /* storage may be blocked: then the default theme is used */
  }
  var dark = stored ? stored === 'dark' : false;
  if (!stored || stored === 'system') dark = matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.classList.add(dark ? 'dark' : 'light');
})();
