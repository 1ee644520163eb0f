import { AppError } from '../../common/errors.ts';
import { readTemplate, type Template, type TemplateForm } from './template.ts';

/** What can stand in the title and the body of one alert. */
const ofAlert = [
  ...(['state', 'alert', 'meaning', 'severity', 'node', 'key', 'summary', 'reason'] as const),
  ...(['since', 'until', 'index', 'runbook', 'origin'] as const),
];
/** What can stand in the title of several. */
const ofSeveral = ['tally', 'total', 'standing', 'resolved', 'worst', 'origin'] as const;

export type AlertPlaceholder = (typeof ofAlert)[number];
export type SeveralPlaceholder = (typeof ofSeveral)[number];

/** By the name of the setting. */
export const templateForms = {
  titleTemplate: { names: ofAlert, lines: false },
  bodyTemplate: { names: ofAlert, lines: true },
  severalTemplate: { names: ofSeveral, lines: false },
} as const;

/** What messages say unless the settings say otherwise. */
export const defaultTemplateTexts = {
  titleTemplate: '{state}: {alert}{?node: on {node}}',
  bodyTemplate: '{?reason:{reason} (it was: }{summary}{?reason:)}',
  severalTemplate: '{tally}',
} as const;

/** What a channel's messages are made by. */
export interface MessageTemplates {
  readonly title: Template<AlertPlaceholder>;
  readonly body: Template<AlertPlaceholder>;
  readonly several: Template<SeveralPlaceholder>;
}

/** Templates as they are set; those that are not are the next best's. */
export type TemplateTexts = { readonly [K in keyof typeof templateForms]?: string | undefined };

/**
 * The templates of a channel.
 * @param texts the channel's own first, then those of all channels; what none of them sets is as it comes with the program.
 * @throws AppError `validation.config` for what the settings should not have let in.
 */
export function messageTemplates(...texts: readonly TemplateTexts[]): MessageTemplates {
  const set = (name: keyof TemplateTexts): string =>
    texts.map((one) => one[name]).find((text) => text !== undefined) ?? defaultTemplateTexts[name];
  return {
    title: required(set('titleTemplate'), templateForms.titleTemplate),
    body: required(set('bodyTemplate'), templateForms.bodyTemplate),
    several: required(set('severalTemplate'), templateForms.severalTemplate),
  };
}

function required<Name extends string>(text: string, form: TemplateForm<Name>): Template<Name> {
  const read = readTemplate(text, form);
  if (read.problem !== undefined) throw new AppError('validation.config', `a template is wrong: ${read.problem}`);
  return read.template;
}

export const defaultTemplates = messageTemplates();
