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

/*
 * Chainlit's page connects twice when it brings a conversation back, and before each it asks for a cookie that nothing
 * here reads. Where that answer was late, the socket that named no conversation came last and won, and the page waited
 * for ever. Answered on the spot, the two keep their order.
 */
(function () {
  var original = window.fetch;
  window.fetch = function (resource, options) {
    var address = typeof resource === 'string' ? resource : (resource && resource.url) || String(resource);
    if (address === location.origin + '/set-session-cookie') {
      return Promise.resolve(new Response('{}', { headers: { 'content-type': 'application/json' } }));
    }
    return original.call(window, resource, options);
  };
})();
