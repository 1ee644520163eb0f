import { z } from 'zod';

/*
 * The shapes of the Kubernetes API (v1.32 reference) as far as docs/deploy/kubernetes uses them: a field that is not listed here is refused, as an API
 * server with strict validation refuses one that it does not know. What is not used there is left out.
 */

const text = z.string().min(1);
const label = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/);
const labels = z.record(
  z.string().regex(/^([a-z0-9.-]{1,253}\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/),
  label,
);
const name = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
const quantity = z.string().regex(/^\d+(\.\d+)?(m|Ki|Mi|Gi)?$/);
const seconds = z.int().positive();
const port = z.int().min(1).max(65_535);
const portOrName = z.union([port, name]);
const matchLabels = z.strictObject({ matchLabels: labels });
const metadata = z.strictObject({ name, namespace: z.literal('sigilwatch'), labels: labels.optional() });

const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.string().startsWith('/'), port: portOrName, scheme: z.enum(['HTTP', 'HTTPS']) }),
  ...{ periodSeconds: seconds, timeoutSeconds: seconds.optional(), failureThreshold: seconds.optional() },
});

const securityContext = z.strictObject({
  runAsNonRoot: z.boolean().optional(),
  runAsUser: z.int().min(0).optional(),
  runAsGroup: z.int().min(0).optional(),
  allowPrivilegeEscalation: z.boolean(),
  readOnlyRootFilesystem: z.boolean(),
  capabilities: z.strictObject({ drop: z.array(text), add: z.array(text).optional() }),
});

const amounts = z.strictObject({ cpu: quantity.optional(), memory: quantity.optional() });

const container = z.strictObject({
  name,
  image: text,
  command: z.array(text).min(1),
  env: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[A-Z][A-Z0-9_]*$/),
        value: z.string().optional(),
        valueFrom: z.strictObject({ secretKeyRef: z.strictObject({ name, key: text }) }).optional(),
      }),
    )
    .default([]),
  ports: z.array(z.strictObject({ name, containerPort: port })).optional(),
  startupProbe: probe.optional(),
  readinessProbe: probe.optional(),
  livenessProbe: probe.optional(),
  resources: z.strictObject({ requests: amounts, limits: amounts }),
  securityContext,
  volumeMounts: z.array(
    z.strictObject({ name, mountPath: z.string().startsWith('/'), readOnly: z.boolean().optional() }),
  ),
});

const keyMode = z.int().min(0).max(0o777);
const volume = z.strictObject({
  name,
  emptyDir: z.strictObject({ medium: z.literal('Memory').optional(), sizeLimit: quantity }).optional(),
  secret: z.strictObject({ secretName: name, defaultMode: keyMode }).optional(),
  configMap: z.strictObject({ name }).optional(),
  hostPath: z
    .strictObject({ path: z.string().startsWith('/'), type: z.enum(['DirectoryOrCreate', 'Directory', 'Socket']) })
    .optional(),
});

const podSpec = z.strictObject({
  automountServiceAccountToken: z.boolean(),
  terminationGracePeriodSeconds: seconds,
  nodeSelector: labels.optional(),
  securityContext: z.strictObject({
    ...{ runAsNonRoot: z.boolean().optional(), runAsUser: z.int().optional(), runAsGroup: z.int().optional() },
    fsGroup: z.int().optional(),
    seccompProfile: z.strictObject({ type: z.literal('RuntimeDefault') }),
  }),
  topologySpreadConstraints: z
    .array(
      z.strictObject({
        maxSkew: seconds,
        topologyKey: text,
        whenUnsatisfiable: z.enum(['ScheduleAnyway', 'DoNotSchedule']),
        labelSelector: matchLabels,
      }),
    )
    .optional(),
  initContainers: z.array(container).default([]),
  containers: z.array(container).min(1),
  volumes: z.array(volume),
});
const template = z.strictObject({ metadata: z.strictObject({ labels }), spec: podSpec });

const networkPort = z.strictObject({ protocol: z.enum(['TCP', 'UDP']), port: portOrName });
const networkRule = { ports: z.array(networkPort) };

export const kubernetesObject = z.discriminatedUnion('kind', [
  z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('Namespace'),
    metadata: z.strictObject({ name, labels }),
  }),
  z.strictObject({
    apiVersion: z.literal('apps/v1'),
    kind: z.literal('Deployment'),
    metadata,
    spec: z.strictObject({
      replicas: z.int().min(0).optional(),
      strategy: z.strictObject({
        type: z.literal('RollingUpdate'),
        rollingUpdate: z.strictObject({ maxUnavailable: z.int(), maxSurge: z.int() }),
      }),
      ...{ selector: matchLabels, template },
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('apps/v1'),
    kind: z.literal('DaemonSet'),
    metadata,
    spec: z.strictObject({
      updateStrategy: z.strictObject({
        type: z.literal('RollingUpdate'),
        rollingUpdate: z.strictObject({ maxUnavailable: z.int() }),
      }),
      ...{ selector: matchLabels, template },
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('Service'),
    metadata,
    spec: z.strictObject({
      selector: labels,
      ports: z.array(z.strictObject({ name, port, targetPort: portOrName })),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('autoscaling/v2'),
    kind: z.literal('HorizontalPodAutoscaler'),
    metadata,
    spec: z.strictObject({
      scaleTargetRef: z.strictObject({ apiVersion: z.literal('apps/v1'), kind: z.literal('Deployment'), name }),
      ...{ minReplicas: seconds, maxReplicas: seconds },
      metrics: z.array(
        z.strictObject({
          type: z.literal('Resource'),
          resource: z.strictObject({
            name: z.enum(['cpu', 'memory']),
            target: z.strictObject({ type: z.literal('Utilization'), averageUtilization: z.int().min(1).max(100) }),
          }),
        }),
      ),
      behavior: z.strictObject({
        scaleDown: z.strictObject({
          stabilizationWindowSeconds: z.int().min(0).max(3_600),
          policies: z.array(
            z.strictObject({
              type: z.enum(['Pods', 'Percent']),
              value: seconds,
              periodSeconds: z.int().min(1).max(1_800),
            }),
          ),
        }),
      }),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('policy/v1'),
    kind: z.literal('PodDisruptionBudget'),
    metadata,
    spec: z.strictObject({ maxUnavailable: z.int().min(0), selector: matchLabels }),
  }),
  z.strictObject({
    apiVersion: z.literal('networking.k8s.io/v1'),
    kind: z.literal('NetworkPolicy'),
    metadata,
    spec: z.strictObject({
      podSelector: matchLabels,
      policyTypes: z.array(z.enum(['Ingress', 'Egress'])),
      ingress: z.array(z.strictObject(networkRule)).optional(),
      egress: z
        .array(z.strictObject({ ...networkRule, to: z.array(z.strictObject({ podSelector: matchLabels })).optional() }))
        .optional(),
    }),
  }),
]);

export type KubernetesObject = z.infer<typeof kubernetesObject>;
export type PodSpec = z.infer<typeof podSpec>;
export type Container = z.infer<typeof container>;

export function containersOf({ initContainers, containers }: PodSpec): readonly Container[] {
  return [...initContainers, ...containers];
}
