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
  /** Of a template that an operator sets. */
  maxAlertTemplateChars: 1_000,
  /** Of a text for Alertmanager, which documents no limit: more than a summary with a reason has. */
  maxAlertAnnotationChars: 8_000,
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
  /** How often it is looked whether something that stands is to be told now, or told again. */
  alertRepeatLookMs: 15_000,
  /** How often it is looked what is wrong with nodes. */
  alertConditionLookMs: 10_000,
  /** A rule that could not judge for so long is told of: some thirty looks. */
  alertRuleFailedMs: 300_000,
  /** A node that reports every minute, and was not heard for so long, is not observed. */
  alertNodeSilentMs: 180_000,
  /** Between two looks further apart than this, nobody listened. */
  alertListenGapMs: 90_000,
  /** Beginnings and ends of one node's alerts that go on record within this time: twice all that it can have, for `maxStores` stores. */
  maxAlertWordsPerNode: 250,
  alertWordsWindowMs: 600_000,
  maxAlertEntriesRead: 200,
  /** That stand at a time; and how long one may last. */
  maxAlertSilences: 1_000,
  maxAlertSilenceMs: 30 * 86_400_000,
  /** With names of their own, beside one of each kind. */
  maxNamedChannels: 20,
  maxAlertEscalateMs: 7 * 86_400_000,
  /** So long may be what people are told of only when it lasts; see the settings `alerts.rules`. */
  alertDriftMs: 10 * 60_000,
  alertUnwitnessedMs: 10 * 60_000,
  alertApprovalMs: 15 * 60_000,
  alertGapMs: 5 * 60_000,
  /** Nodes make an integrity run each night, at about the same time. */
  alertIntegrityMs: 26 * 3_600_000,
  /** The collector checks the ledger each night; a run that was missed is made up once it has begun, and takes its time. */
  alertLedgerCheckMs: 26 * 3_600_000,
  alertLedgerCheckGraceMs: 3_600_000,
  /** For so long people are told of what has happened and is over. */
  alertCoverageMs: 3_600_000,
  alertForkMs: 86_400_000,
  alertDeadLetterMs: 86_400_000,
  alertDiskWarningPercent: 10,
  alertDiskErrorPercent: 3,
  /** Of one node, and one kind of condition, containers are counted so far: a look costs the same whatever a node makes up. */
  maxAlertedContainers: 1_000,
  /** Entries that are looked at for one node, or for all where they are few. */
  maxAlertEntriesCounted: 1_000,
  /** Tries of one notification. With the pauses between them some ten hours, longer where the breaker holds them back. */
  alertAttempts: 40,
  maxAlertAttempts: 1_000,
  alertBackoffMinMs: 5_000,
  alertBackoffMaxMs: 30 * 60_000,
  /** A channel that asks for a pause gets it, up to so long. */
  maxAlertRetryAfterMs: 3_600_000,
  /** No notification is put off for longer at a time, be it to be gathered or to be tried again. */
  maxAlertWaitMs: 3_600_000,
  /** How long a notification belongs to whoever took it: longer than sending can take, so that two never send it at once. */
  alertLeaseMs: 30_000,
  /** A channel that no collector has in its settings any more gets no new notifications after this time. */
  alertChannelForgottenMs: 7 * 86_400_000,
  /** What was delivered, alerts that are over, and dead letters are kept so long. */
  alertHistoryMs: 30 * 86_400_000,
  alertTidyMs: 3_600_000,
} as const;
