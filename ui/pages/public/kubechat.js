/*
 * What the chat page draws beyond Chainlit: the greeting and the turn. Plain JavaScript, no build step.
 *
 * Chainlit compiles a custom element's file anew whenever its message is drawn again, which would throw away what a
 * person has unfolded. So the elements are two lines that fetch their component here, where it is made once.
 */
(function () {
  'use strict';

  var made = {};

  var ICONS = {
    done: 'M5 12.5l4.5 4.5L19 7.5',
    failed: 'M6 6l12 12M18 6L6 18',
    tool: 'M14.5 6.5a4 4 0 0 0-5 5L4 17l3 3 5.5-5.5a4 4 0 0 0 5-5l-2.5 2.5-3-3z',
    handoff: 'M4 9h14l-4-4M20 15H6l4 4',
    copy: 'M9 9h10v11H9zM5 15V4h10',
    more: 'M6 9l6 6 6-6',
    security: 'M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z',
    performance: 'M4 16a8 8 0 1 1 16 0M12 16l4-5',
    troubleshooting: 'M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l5 5',
    deployment: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9',
    monitoring: 'M3 12h4l3-7 4 14 3-7h4',
    storage: 'M4 6c0-4 16-4 16 0v12c0 4-16 4-16 0zM4 6c0 4 16 4 16 0M4 12c0 4 16 4 16 0',
    networking: 'M12 4v5M5 20v-5h14v5M12 9v6M9 4h6M3 20h4M17 20h4',
    general: 'M12 17v.01M9 9a3 3 0 1 1 3 4v1'
  };

  var SEVERITY = { critical: 'Critical', error: 'Error', warning: 'Warning', info: 'Info' };

  function copy(text) {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    var area = document.createElement('textarea'); // plain http beyond loopback has no clipboard
    area.value = text;
    area.style.position = 'fixed';
    area.style.opacity = '0';
    document.body.appendChild(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    return Promise.resolve();
  }

  function duration(ms) {
    if (ms === null || ms === undefined) return '';
    return ms < 1000 ? Math.max(1, Math.round(ms)) + ' ms' : (ms / 1000).toFixed(1) + ' s';
  }

  function plural(count, one, many) {
    return count.toLocaleString('en') + ' ' + (count === 1 ? one : many || one + 's');
  }

  /* [E3] and [E3, E5] become links that the turn opens; a mark without evidence stays as it is. */
  function linked(text, evidence) {
    // code comes first: what stands in it is an excerpt, and no mark of ours
    return text.replace(/(`+|~~~+)[\s\S]*?\1|\[(E\d+(?:\s*,\s*E\d+)*)\]/g, function (whole, fence, list) {
      if (fence) return whole;
      var ids = list.split(/\s*,\s*/);
      var known = ids.every(function (id) {
        return evidence[id];
      });
      if (!known) return whole;
      return ids
        .map(function (id) {
          return '[' + id + '](#' + id + ')';
        })
        .join(' ');
    });
  }

  function parts(React) {
    var h = React.createElement;

    function Icon(props) {
      return h(
        'svg',
        { className: 'kc-icon', viewBox: '0 0 24 24', 'aria-hidden': true },
        h('path', { d: ICONS[props.name] || ICONS.general })
      );
    }

    function CopyButton(props) {
      var state = React.useState(false);
      function onClick() {
        copy(props.text).then(function () {
          state[1](true);
          setTimeout(function () {
            state[1](false);
          }, 1500);
        });
      }
      return h(
        'button',
        { type: 'button', className: 'kc-copy', onClick: onClick, title: props.title || 'Copy', 'aria-label': props.title || 'Copy' },
        h(Icon, { name: state[0] ? 'done' : 'copy' }),
        props.label ? h('span', null, state[0] ? 'Copied' : props.label) : null
      );
    }

    function Fold(props) {
      var state = React.useState(!!props.open);
      return h(
        'div',
        { className: 'kc-fold' + (state[0] ? ' kc-unfolded' : '') },
        h(
          'button',
          {
            type: 'button',
            className: 'kc-fold-title',
            'aria-expanded': state[0],
            onClick: function () {
              state[1](!state[0]);
            }
          },
          h(Icon, { name: 'more' }),
          props.title
        ),
        state[0] ? h('div', { className: 'kc-fold-body' }, props.children) : null
      );
    }

    function Evidence(props) {
      var item = props.item;
      var time = item.time ? new Date(item.time).toISOString().replace('T', ' ').replace(/\.\d+Z$/, ' UTC').replace(/Z$/, ' UTC') : null;
      return h(
        'div',
        { className: 'kc-evidence', 'data-evidence': item.id },
        h(
          'div',
          { className: 'kc-evidence-head' },
          h('span', { className: 'kc-mark' }, item.id),
          h('b', null, item.object),
          h('span', { className: 'kc-dim' }, item.kind)
        ),
        h('div', { className: 'kc-dim kc-locator' }, item.locator, time ? h('time', { dateTime: item.time }, time) : null),
        h('pre', { className: 'kc-excerpt' }, item.excerpt)
      );
    }

    /* A line of a remedy: words, names in code, and whole commands with a button to copy them. */
    function Remedy(props) {
      return h(
        'ol',
        { className: 'kc-remedy' },
        props.lines.map(function (line, index) {
          var pieces = line.split(/(`[^`]+`)/).filter(Boolean);
          return h(
            'li',
            { key: index },
            pieces.map(function (piece, at) {
              if (piece[0] !== '`') return h('span', { key: at }, piece);
              var code = piece.slice(1, -1);
              if (!/^(kubectl|helm|kubeadm|curl|openssl|kustomize)\s/.test(code)) return h('code', { key: at }, code);
              return h(
                'div',
                { key: at, className: 'kc-command' },
                h('code', null, code),
                h(CopyButton, { text: code, title: 'Copy the command' })
              );
            })
          );
        })
      );
    }

    function Card(props) {
      var card = props.card;
      var evidence = card.evidence
        .map(function (id) {
          return props.evidence[id];
        })
        .filter(Boolean);
      return h(
        'article',
        { className: 'kc-card kc-sev-' + card.severity, 'data-code': card.code },
        h(
          'header',
          null,
          h('span', { className: 'kc-severity' }, SEVERITY[card.severity]),
          h('b', { className: 'kc-object' }, card.object),
          h('span', { className: 'kc-dim kc-domain' }, card.domain)
        ),
        h('p', null, card.cause),
        card.confidence < 0.75
          ? h('p', { className: 'kc-dim' }, 'Confidence ' + Math.round(card.confidence * 100) + ' %: confirm it first.')
          : null,
        h(
          'div',
          { className: 'kc-folds' },
          card.remedy.length ? h(Fold, { title: 'What to do' }, h(Remedy, { lines: card.remedy })) : null,
          evidence.length
            ? h(
                Fold,
                { title: 'Evidence (' + evidence.length + ')' },
                evidence.map(function (item) {
                  return h(Evidence, { key: item.id, item: item });
                })
              )
            : null,
          card.explains.length
            ? h(
                Fold,
                { title: 'Explains ' + plural(card.explains.length, 'symptom') },
                h(
                  'ul',
                  { className: 'kc-explains' },
                  card.explains.map(function (symptom, index) {
                    return h('li', { key: index }, h('b', null, symptom.object), symptom.how ? ': ' + symptom.how : '');
                  })
                )
              )
            : null
        )
      );
    }

    return { h: h, Icon: Icon, CopyButton: CopyButton, Fold: Fold, Evidence: Evidence, Card: Card };
  }

  function makeTurn(React, Markdown) {
    var kit = parts(React);
    var h = kit.h;

    function Trail(props) {
      var state = React.useState(false);
      var steps = props.steps;
      var long = !props.running && steps.length > 8 && !state[0];
      var shown = long ? steps.slice(0, 4).concat(steps.slice(-3)) : steps;
      return h(
        'ol',
        { className: 'kc-trail', 'aria-label': 'What KubeChat did' },
        shown.map(function (step, index) {
          var icon = step.status === 'failed' ? 'failed' : step.kind === 'step' ? 'done' : step.kind;
          return h(
            'li',
            { key: step.key + index, className: 'kc-step kc-' + step.kind + ' kc-is-' + step.status, 'data-step': step.key },
            step.status === 'started' && props.running ? h('span', { className: 'kc-spinner' }) : h(kit.Icon, { name: icon }),
            h('span', { className: 'kc-step-label' }, step.label),
            step.input && step.input !== '{}' ? h('code', null, step.input) : null,
            step.detail ? h('span', { className: 'kc-step-detail' }, step.detail) : null,
            step.ms ? h('span', { className: 'kc-ms' }, duration(step.ms)) : null
          );
        }),
        long
          ? h(
              'li',
              { key: 'more', className: 'kc-step' },
              h(
                'button',
                {
                  type: 'button',
                  className: 'kc-link',
                  onClick: function () {
                    state[1](true);
                  }
                },
                'all ' + steps.length + ' steps'
              )
            )
          : null
      );
    }

    function Findings(props) {
      var found = props.diagnosis;
      function cards(list) {
        return list.map(function (card) {
          return h(kit.Card, { key: card.id, card: card, evidence: props.evidence });
        });
      }
      if (!found.cards.length && !found.folded.length) return null;
      var rest = found.folded.length + found.more;
      return h(
        'section',
        { className: 'kc-findings', 'aria-label': 'Findings' },
        cards(found.cards),
        rest
          ? h(
              kit.Fold,
              { title: plural(rest, 'more finding') + (found.cards.length ? ' elsewhere in the cluster' : ' in the cluster') },
              cards(found.folded),
              found.more ? h('p', { className: 'kc-dim' }, 'and ' + found.more + ' more') : null
            )
          : null
      );
    }

    function Answer(props) {
      var box = React.useRef(null);
      var state = React.useState(null);
      var open = state[0];
      var setOpen = state[1];

      React.useEffect(
        function () {
          if (!open) return undefined;
          function onKey(event) {
            if (event.key === 'Escape') setOpen(null);
          }
          function onDown(event) {
            if (!event.target.closest('.kc-popover') && !event.target.closest('a[href^="#E"]')) setOpen(null);
          }
          document.addEventListener('keydown', onKey);
          document.addEventListener('mousedown', onDown);
          return function () {
            document.removeEventListener('keydown', onKey);
            document.removeEventListener('mousedown', onDown);
          };
        },
        [open]
      );

      function onClick(event) {
        var link = event.target.closest('a[href^="#E"]');
        if (!link || !box.current) return;
        event.preventDefault();
        var id = link.getAttribute('href').slice(1);
        if (open && open.id === id && open.link === link) return setOpen(null);
        var frame = box.current.getBoundingClientRect();
        var at = link.getBoundingClientRect();
        var width = Math.min(460, frame.width);
        var left = Math.max(0, Math.min(at.left - frame.left - 16, frame.width - width));
        var place = { left: left, width: width };
        // near the lower edge, where the composer begins, it opens upwards
        if (at.bottom > window.innerHeight - 380 && at.top > 300) place.bottom = frame.bottom - at.top + 6;
        else place.top = at.bottom - frame.top + 6;
        setOpen({ id: id, link: link, place: place });
      }

      var several =
        props.parts.filter(function (part) {
          return part.domain;
        }).length > 1;
      return h(
        'div',
        { className: 'kc-answer', ref: box, onClick: onClick },
        props.parts.map(function (part, index) {
          return h(
            'section',
            { key: index, className: 'kc-part', 'data-domain': part.domain || '' },
            several && part.domain
              ? h('h3', { className: 'kc-part-title' }, h(kit.Icon, { name: part.domain }), part.title)
              : null,
            h(Markdown, null, linked(part.text, props.evidence))
          );
        }),
        props.running ? h('span', { className: 'kc-caret', 'aria-hidden': true }) : null,
        open && props.evidence[open.id]
          ? h(
              'div',
              { className: 'kc-popover', role: 'dialog', 'aria-label': 'Evidence ' + open.id, style: open.place },
              h(kit.Evidence, { item: props.evidence[open.id] })
            )
          : null
      );
    }

    function Footer(props) {
      var data = props.data;
      var lines = data.notices
        .filter(function (notice) {
          return notice.code !== 'evidence-only' || data.mode !== 'evidence-only';
        })
        .map(function (notice, index) {
          return h('p', { key: 'n' + index, className: 'kc-notice', 'data-code': notice.code }, notice.message);
        });
      if (data.unbacked)
        lines.push(
          h('p', { key: 'u', className: 'kc-notice kc-warn' }, plural(data.unbacked, 'statement') + ' of this answer ' + (data.unbacked === 1 ? 'is' : 'are') + ' not backed by evidence, and marked so.')
        );
      var missing = data.diagnosis ? data.diagnosis.notChecked : [];
      if (missing.length)
        lines.push(
          h(
            kit.Fold,
            { key: 'm', title: plural(missing.length, 'thing') + ' could not be checked' },
            h(
              'ul',
              { className: 'kc-explains' },
              missing.map(function (item, index) {
                return h('li', { key: index }, h('b', null, item.what), ': ' + item.reason + (item.detail ? ', ' + item.detail : ''));
              })
            )
          )
        );
      return lines.length ? h('div', { className: 'kc-notices' }, lines) : null;
    }

    function Usage(props) {
      var data = props.data;
      if (data.status !== 'done') return null;
      var text = 'Rendered from the evidence; no model was used.';
      if (data.mode === 'model' || data.model) {
        var usage = data.usage || { calls: 0, prompt_tokens: 0, completion_tokens: 0 };
        text = [
          data.model,
          plural(usage.calls, 'call'),
          plural(usage.prompt_tokens + usage.completion_tokens, 'token'),
          data.cost === null || data.cost === undefined ? 'cost unknown' : '$' + data.cost.toFixed(4),
          data.textWentTo ? 'masked text went to ' + data.textWentTo : null
        ]
          .filter(Boolean)
          .join(' · ');
      }
      var whole = data.parts
        .map(function (part) {
          return (part.title ? '### ' + part.title + '\n\n' : '') + part.text;
        })
        .join('\n')
        .trim();
      return h(
        'footer',
        { className: 'kc-usage' },
        h('span', null, text),
        whole ? h(kit.CopyButton, { text: whole, title: 'Copy the answer', label: 'Copy' }) : null
      );
    }

    return function Turn(props) {
      var data = props.data;
      var running = data.status === 'running';
      var domains = (data.route && data.route.domains) || [];
      return h(
        'div',
        { className: 'kc-turn kc-turn-' + data.status, 'data-status': data.status, 'data-turn': data.turn },
        h(
          'div',
          { className: 'kc-turn-head' },
          data.cluster ? h('span', { className: 'kc-cluster', 'data-source': data.source }, h('i'), data.cluster) : null,
          domains.map(function (domain) {
            return h('span', { key: domain.id, className: 'kc-taker', title: data.route.reason }, h(kit.Icon, { name: domain.id }), domain.title);
          }),
          data.mode ? h('span', { className: 'kc-mode' }, data.mode === 'model' ? data.model || 'model' : 'evidence only') : null,
          running && !data.steps.length ? h('span', { className: 'kc-dim' }, h('span', { className: 'kc-spinner' }), ' looking …') : null
        ),
        data.steps.length ? h(Trail, { steps: data.steps, running: running }) : null,
        running && data.steps.length && !data.parts.length
          ? h('p', { className: 'kc-dim kc-busy' }, h('span', { className: 'kc-spinner' }), data.route ? ' writing the answer …' : ' working …')
          : null,
        data.diagnosis ? h(Findings, { diagnosis: data.diagnosis, evidence: data.evidence }) : null,
        data.parts.length ? h(Answer, { parts: data.parts, evidence: data.evidence, running: running }) : null,
        data.error
          ? h(
              'div',
              { className: 'kc-error', role: 'alert' },
              h('p', null, data.error.message),
              h('span', { className: 'kc-dim' }, data.error.code, data.error.retryable ? ' · asking again may help' : '')
            )
          : null,
        h(Footer, { data: data }),
        h(Usage, { data: data })
      );
    };
  }

  function makeGreeting(React, Markdown) {
    var kit = parts(React);
    var h = kit.h;
    return function Greeting(props) {
      var data = props.data;
      var starters = data.starters;
      return h(
        'div',
        { className: 'kc-greeting', 'data-loading': data.loading },
        h('div', { className: 'kc-logo', role: 'img', 'aria-label': 'KubeChat' }),
        h('h1', null, 'What do you want to know?'),
        data.notice ? h('p', { className: 'kc-notice kc-warn' }, data.notice) : null,
        data.error
          ? h('div', { className: 'kc-error', role: 'alert' }, h('p', null, data.error.message), h('span', { className: 'kc-dim' }, data.error.code))
          : data.loading
            ? h('p', { className: 'kc-dim' }, h('span', { className: 'kc-spinner' }), ' Looking at ', h('b', null, data.cluster), ' …')
            : h('div', { className: 'kc-state' }, h(Markdown, null, data.text)),
        h(
          'div',
          { className: 'kc-starters' },
          starters.map(function (starter) {
            return h(
              'button',
              {
                key: starter.question,
                type: 'button',
                className: 'kc-starter',
                'data-domain': starter.domain,
                onClick: function () {
                  props.send(starter.question);
                }
              },
              h(kit.Icon, { name: starter.domain }),
              h('span', null, starter.question)
            );
          }),
          data.loading
            ? [0, 1, 2, 3].map(function (index) {
                return h('div', { key: index, className: 'kc-starter kc-waiting' });
              })
            : null
        ),
        h('p', { className: 'kc-dim kc-model' }, 'Model: ' + data.model)
      );
    };
  }

  window.KubeChat = {
    /* The element `name` with its data; `env` is what Chainlit gives to a custom element's file. */
    element: function (name, env, data) {
      var make = { Turn: makeTurn, Greeting: makeGreeting }[name];
      if (!made[name]) made[name] = make(env.React, env.Markdown);
      return env.React.createElement(made[name], { data: data, send: env.sendUserMessage });
    }
  };

  window.addEventListener('message', function (event) {
    var wish = event.source === window && event.origin === location.origin && event.data && event.data.kubechat;
    if (wish && /^[0-9A-Za-z-]{1,64}$/.test(wish.open || '')) location.assign('/thread/' + wish.open);
  });
})();
