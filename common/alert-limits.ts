/** Those of `limits` that notifications are bounded by. */
export const alertLimits = {
  /** Connecting to a channel, and waiting for its answer, each; a channel that hangs keeps nobody else waiting. */
  alertConnectTimeoutMs: 5_000,
  alertAnswerTimeoutMs: 10_000,
  /** From the first byte to the last, whatever the other side does in between. */
  alertSendTimeoutMs: 20_000,
  maxAlertAnswerBytes: 16 * 1024,
  /** Of an answer, and of what went wrong, so much is kept and shown. */
  maxAlertAnswerChars: 300,
  maxAlertRecipients: 50,
  /** In one message; what is beyond it goes out in the next. */
  maxAlertsPerMessage: 10,
  /** Of a summary or reason in a chat message: ten of them, escaped, still fit into what Slack and Discord take in all. */
  maxChatTextChars: 400,
  /** Of the URL under which the runbook's pages are: with the name of one it fits beside the other texts of a message. */
  maxRunbookUrlChars: 150,
  /** A subject line is read in a list. */
  maxSubjectChars: 150,

  /** Alerts that begin within this time after another one share its message. */
  alertGroupMs: 10_000,
  /** While an alert stands it is told again after this time. */
  alertRepeatMs: 4 * 3_600_000,
  minAlertRepeatMs: 60_000,
  /** How often the ledger is looked at for alerts, and each channel's queue for what is due. */
  alertPollMs: 1_000,
  /** How often it is looked whether something that stands is to be told again. */
  alertRepeatLookMs: 15_000,
  /** How often it is looked what is wrong with nodes. */
  alertConditionLookMs: 10_000,
  /** A node that reports every minute, and was not heard for so long, is not observed. */
  alertNodeSilentMs: 180_000,
  maxAlertEntriesRead: 200,
  /** Tries of one notification. With the pauses between them some ten hours, longer where the breaker holds them back. */
  alertAttempts: 40,
  maxAlertAttempts: 1_000,
  alertBackoffMinMs: 5_000,
  alertBackoffMaxMs: 30 * 60_000,
  /** A channel that asks for a pause gets it, up to so long. */
  maxAlertRetryAfterMs: 3_600_000,
  /** How long a notification belongs to whoever took it: longer than sending can take, so that two never send it at once. */
  alertLeaseMs: 30_000,
  /** Failures in a row after which a channel is left alone, and for how long: doubling up to the second with each probe. */
  alertBreakerFailures: 5,
  alertBreakerMinMs: 30_000,
  alertBreakerMaxMs: 10 * 60_000,
  /** A channel that no collector has in its settings any more gets no new notifications after this time. */
  alertChannelForgottenMs: 7 * 86_400_000,
  /** What was delivered, alerts that are over, and dead letters are kept so long. */
  alertHistoryMs: 30 * 86_400_000,
  alertTidyMs: 3_600_000,
} as const;
