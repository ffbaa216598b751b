// The pages work without this: it adds ages to times, says whether a live page is connected, and puts / on the search.
(() => {
  'use strict';
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const age = (seconds) => {
    const [size, unit] = units.find(([s]) => Math.abs(seconds) >= s) || units[3];
    const n = Math.floor(Math.abs(seconds) / size) + ' ' + unit;
    return seconds < 0 ? 'in ' + n : n + ' ago';
  };
  const tell = () => {
    for (const t of document.querySelectorAll('time[datetime]')) {
      const at = new Date(t.dateTime);
      if (!t.title) {
        t.title = t.textContent + '\n' + at.toLocaleString();
      }
      t.dataset.age = age((Date.now() - at) / 1000);
    }
  };
  tell();
  setInterval(tell, 1000);
  document.documentElement.classList.add('js');
  document.addEventListener('htmx:afterSwap', tell);
  const link = (text, ok) => {
    const at = document.getElementById('link');
    if (at) {
      at.textContent = text;
      at.className = 'js ' + (ok ? 'good' : 'bad');
    }
  };
  document.addEventListener('htmx:sseOpen', () => link('live', true));
  document.addEventListener('htmx:sseError', () => link('not connected: what is shown may be old', false));
  document.addEventListener('keydown', (e) => {
    const search = document.querySelector('input[type=search]');
    if (e.key === '/' && search && !e.target.closest('input, textarea, select')) {
      e.preventDefault();
      search.focus();
    }
  });
})();
