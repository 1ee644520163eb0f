import {
  alertAcknowledge,
  alertChannelList,
  alertDeadLetterList,
  alertDeadLetterRetry,
  alertList,
  alertSilenceAdd,
  alertSilenceEnd,
  alertSilenceList,
} from './alerts-contract.ts';
import {
  artifactList,
  artifactRegister,
  artifactShow,
  artifactSweep,
  artifactTrends,
  explainShow,
} from './artifacts-contract.ts';
import { breakerList, breakerReset } from './breakers-contract.ts';
import {
  budgetList,
  budgetRequest,
  budgetRequestCommit,
  budgetRequestList,
  budgetRequestRelease,
  budgetRequestShow,
  budgetShow,
} from './budgets-contract.ts';
import type { Contract } from './contract.ts';
import { deadLetterList, deadLetterResolve, deadLetterRetry, deadLetterShow } from './dead-letters-contract.ts';
import { apiDescription, apiPage } from './documents-contract.ts';
import { driftList, driftShow } from './drifts-contract.ts';
import { jobList, jobRequest, jobShow } from './enforcements-contract.ts';
import { eventFollow } from './events-contract.ts';
import { containerList, findingList, fleetShow, nodeList, nodeRevoke, nodeToken } from './fleet-contract.ts';
import {
  changeAnnounce,
  changeList,
  desiredRefresh,
  enforcementRelease,
  enforcementShow,
  governanceStatus,
  silenceAdd,
  silenceEnd,
  silenceList,
} from './governance-contract.ts';
import { integrityReportList, integrityReportShow } from './integrity-contract.ts';
import { entryList, logCheckpoint, logPolicy, logTile, witnessList, witnessPins } from './ledger-contract.ts';
import { orderApprove, orderIssue, orderList, orderReject, orderShow } from './orders-contract.ts';
import { enrol, health, metrics, metricTargets, ready, stats } from './service-contract.ts';
import {
  passwordChange,
  sessionEnd,
  sessionList,
  sessionRefresh,
  sessionStart,
  setup,
  whoami,
} from './sessions-contract.ts';
import { tokenCreate, tokenList, tokenRevoke } from './tokens-contract.ts';
import { userChange, userCreate, userList, userShow } from './users-contract.ts';

/** Every route there is, in the order in which they are told to people. */
export const contracts: readonly Contract[] = [
  ...[health, ready, metrics, metricTargets, stats, enrol],
  ...[setup, sessionStart, sessionRefresh, sessionList, sessionEnd, whoami, passwordChange],
  ...[userList, userShow, userCreate, userChange],
  ...[tokenList, tokenCreate, tokenRevoke],
  ...[nodeList, nodeToken, nodeRevoke, containerList, findingList, fleetShow],
  ...[driftList, driftShow],
  ...[orderList, orderShow, orderIssue, orderApprove, orderReject],
  ...[governanceStatus, enforcementShow, enforcementRelease, silenceList, silenceAdd, silenceEnd],
  ...[budgetList, budgetShow, budgetRequest],
  ...[budgetRequestList, budgetRequestShow, budgetRequestCommit, budgetRequestRelease],
  ...[changeList, changeAnnounce, desiredRefresh],
  ...[artifactList, artifactTrends, artifactRegister, artifactShow, artifactSweep, explainShow],
  ...[jobRequest, jobList, jobShow],
  ...[deadLetterList, deadLetterShow, deadLetterRetry, deadLetterResolve],
  ...[breakerList, breakerReset],
  ...[alertList, alertAcknowledge, alertSilenceList, alertSilenceAdd, alertSilenceEnd, alertChannelList],
  ...[alertDeadLetterList, alertDeadLetterRetry],
  ...[integrityReportList, integrityReportShow],
  ...[eventFollow, entryList, witnessList, witnessPins, logCheckpoint, logTile, logPolicy],
  ...[apiDescription, apiPage],
];
