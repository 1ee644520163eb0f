/** Of the page about the API; in the colours of our other pages. */
export const style = `
:root { color-scheme: light dark; --back: #fff; --line: #d5d9df; --soft: #f4f6f8; --dim: #5b6470; --text: #1b2026; --link: #0b57a4; --get: #17693a; --post: #0b57a4; --patch: #8a5a00; --delete: #a4161a; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14181d; --line: #3a414b; --soft: #1e2329; --dim: #9aa4b1; --text: #e4e8ed; --link: #7db8f5; --get: #5fc98a; --post: #7db8f5; --patch: #e8b04a; --delete: #ff8589; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; background: var(--back); color: var(--text); display: grid; grid-template-columns: 17rem minmax(0, 1fr); }
a { color: var(--link); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; border-right: 1px solid var(--line); padding: 1.5rem 1rem 3rem 1.25rem; font-size: 0.875rem; }
nav div { padding-bottom: 1rem; break-inside: avoid; }
nav p { margin: 0 0 0.2rem; font-weight: 600; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li { margin: 0.1rem 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
nav li a { color: var(--dim); }
main { max-width: 68rem; padding: 1.75rem 2rem 5rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.3rem; margin: 3.2rem 0 0.75rem; padding-bottom: 0.3rem; border-bottom: 1px solid var(--line); }
h2:first-letter { text-transform: uppercase; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
h3 a { color: inherit; }
h3 + pre { margin-top: 0.6rem; }
h4 { font-size: 0.8rem; font-weight: 600; color: var(--dim); margin: 1rem 0 0.3rem; }
p { margin: 0.5rem 0; max-width: 46rem; text-wrap: pretty; }
article > p { max-width: none; }
article > p:last-child { margin-bottom: 0; }
.lead, .dim { color: var(--dim); }
code, pre { font: 0.84rem/1.55 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; }
pre { margin: 0; padding: 0.6rem 0.8rem; background: var(--soft); border-radius: 0.4rem; white-space: pre-wrap; overflow-wrap: anywhere; }
pre b { font-weight: 600; }
pre i { color: var(--dim); font-style: normal; font-family: system-ui, sans-serif; font-size: 0.8rem; }
article { border: 1px solid var(--line); border-radius: 0.6rem; padding: 1rem 1.1rem 1.1rem; margin: 1rem 0; }
article:target { border-color: var(--link); box-shadow: 0 0 0 1px var(--link); }
.method { display: inline-block; min-width: 4.2rem; margin-right: 0.6rem; padding: 0.05rem 0.5rem; border: 1px solid; border-radius: 0.4rem; font: 600 0.75rem/1.5 ui-monospace, monospace; text-align: center; text-transform: uppercase; vertical-align: 0.1rem; }
.get { color: var(--get); } .post, .put { color: var(--post); } .patch { color: var(--patch); } .delete { color: var(--delete); }
h3 code { font-size: 0.95rem; font-weight: 600; }
.may { font-size: 0.875rem; color: var(--dim); }
.role { display: inline-block; padding: 0 0.45rem; border: 1px solid var(--line); border-radius: 0.9rem; font-size: 0.78rem; color: var(--text); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: baseline; padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid var(--line); font-weight: normal; }
thead th { color: var(--dim); font-size: 0.8rem; }
td:last-child { width: 60%; overflow-wrap: anywhere; padding-right: 0; }
tr:last-child > * { border-bottom: 0; }
.matrix code { white-space: nowrap; }
.params td { white-space: nowrap; } .params td:last-child { width: 100%; white-space: normal; }
.params td:last-child code { margin-right: 0.5rem; }
.yes { text-align: center; padding-left: 0.4rem; }
.matrix td:last-child { width: auto; }
@media (max-width: 60rem) {
  body { display: block; }
  nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); padding: 1rem 1rem 0; columns: 2; }
  main { padding: 1.25rem 1rem 4rem; }
}
@media print {
  :root { --back: #fff; --line: #bbb; --soft: #f6f6f6; --dim: #444; --text: #000; --link: #000; }
  body { display: block; font-size: 10.5pt; }
  nav { display: none; }
  main { max-width: none; padding: 0; }
  article { padding: 0.6rem 0.8rem; }
  h2, h3, h4 { break-after: avoid; }
  pre, tr { break-inside: avoid; }
}
`;
