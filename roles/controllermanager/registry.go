package controllermanager

import (
	"fmt"
	"slices"
	"strings"

	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/aggregation"
	"hyperkube/internal/controllers/bootstrapsigner"
	"hyperkube/internal/controllers/clusterdns"
	"hyperkube/internal/controllers/cronjob"
	"hyperkube/internal/controllers/csrapproving"
	"hyperkube/internal/controllers/csrcleaner"
	"hyperkube/internal/controllers/csrsigning"
	"hyperkube/internal/controllers/daemonset"
	"hyperkube/internal/controllers/deployment"
	"hyperkube/internal/controllers/disruption"
	"hyperkube/internal/controllers/endpoints"
	"hyperkube/internal/controllers/endpointslice"
	"hyperkube/internal/controllers/ephemeralvolume"
	"hyperkube/internal/controllers/gc"
	"hyperkube/internal/controllers/job"
	"hyperkube/internal/controllers/legacytokens"
	"hyperkube/internal/controllers/namespace"
	"hyperkube/internal/controllers/nodeipam"
	"hyperkube/internal/controllers/nodelifecycle"
	"hyperkube/internal/controllers/nodettl"
	"hyperkube/internal/controllers/podautoscaler"
	"hyperkube/internal/controllers/podcertcleaner"
	"hyperkube/internal/controllers/podgc"
	"hyperkube/internal/controllers/policystatus"
	"hyperkube/internal/controllers/protection"
	"hyperkube/internal/controllers/replicaset"
	"hyperkube/internal/controllers/replication"
	"hyperkube/internal/controllers/resourcequota"
	"hyperkube/internal/controllers/rootca"
	"hyperkube/internal/controllers/satoken"
	"hyperkube/internal/controllers/serviceaccount"
	"hyperkube/internal/controllers/servicecidr"
	"hyperkube/internal/controllers/slicemirroring"
	"hyperkube/internal/controllers/statefulset"
	"hyperkube/internal/controllers/storagemigration"
	"hyperkube/internal/controllers/tainteviction"
	"hyperkube/internal/controllers/tokencleaner"
	"hyperkube/internal/controllers/trustbundle"
	"hyperkube/internal/controllers/ttlafterfinished"
)

// maker makes one controller; nil, without an error, where the configuration leaves it nothing to do.
type maker func(d controllers.Deps, c *Config, m *material, workers int) (controllers.Controller, error)

// entry is one controller that can be chosen.
type entry struct {
	name    string
	alias   string // the name before v1.27, still accepted
	off     bool   // by default
	workers int
	make    maker
}

// simple is a maker of a controller that needs no more than its workers.
func simple(f func(controllers.Deps, int) controllers.Controller) maker {
	return func(d controllers.Deps, _ *Config, _ *material, n int) (controllers.Controller, error) {
		return f(d, n), nil
	}
}

// single is a maker of a controller that needs nothing.
func single(f func(controllers.Deps) controllers.Controller) maker {
	return func(d controllers.Deps, _ *Config, _ *material, _ int) (controllers.Controller, error) {
		return f(d), nil
	}
}

// entries are all controllers, in the order in which they start.
func entries() []entry {
	return []entry{
		{name: serviceaccount.Name, alias: "serviceaccount", workers: 5, make: simple(serviceaccount.New)},
		{name: satoken.Name, alias: "serviceaccount-token", workers: 5, make: makeTokens},
		{name: legacytokens.Name, alias: "legacy-service-account-token-cleaner", make: func(d controllers.Deps, c *Config, _ *material, _ int) (controllers.Controller, error) {
			return legacytokens.New(d, c.LegacyTokenPeriod), nil
		}},
		{name: rootca.Name, alias: "root-ca-cert-publisher", workers: 5, make: makeRootCA},
		{name: trustbundle.Name, make: makeTrustBundle},
		{name: nodeipam.Name, alias: "nodeipam", workers: 1, make: makeNodeIPAM},
		{name: nodelifecycle.Name, alias: "nodelifecycle", workers: 8, make: func(d controllers.Deps, c *Config, _ *material, _ int) (controllers.Controller, error) {
			return nodelifecycle.New(d, c.NodeLifecycle), nil
		}},
		{name: nodettl.Name, alias: "ttl", workers: 5, make: simple(nodettl.New)},
		{name: tainteviction.Name, workers: 8, make: simple(tainteviction.New)},
		{name: replicaset.Name, alias: "replicaset", workers: 5, make: simple(replicaset.New)},
		{name: replication.Name, alias: "replicationcontroller", workers: 5, make: simple(replication.New)},
		{name: deployment.Name, alias: "deployment", workers: 5, make: simple(deployment.New)},
		{name: daemonset.Name, alias: "daemonset", workers: 2, make: simple(daemonset.New)},
		{name: statefulset.Name, alias: "statefulset", workers: 5, make: simple(statefulset.New)},
		{name: job.Name, alias: "job", workers: 5, make: simple(job.New)},
		{name: cronjob.Name, alias: "cronjob", workers: 5, make: simple(cronjob.New)},
		{name: ttlafterfinished.Name, alias: "ttl-after-finished", workers: 5, make: simple(ttlafterfinished.New)},
		{name: podautoscaler.Name, alias: "horizontalpodautoscaling", workers: 5, make: func(d controllers.Deps, c *Config, _ *material, n int) (controllers.Controller, error) {
			return podautoscaler.New(d, n, c.Autoscaler), nil
		}},
		{name: endpoints.Name, alias: "endpoint", workers: 5, make: simple(endpoints.New)},
		{name: endpointslice.Name, alias: "endpointslice", workers: 5, make: func(d controllers.Deps, c *Config, _ *material, n int) (controllers.Controller, error) {
			return endpointslice.New(d, n, c.MaxEndpointsPerSlice), nil
		}},
		{name: slicemirroring.Name, alias: "endpointslicemirroring", workers: 5, make: func(d controllers.Deps, _ *Config, _ *material, n int) (controllers.Controller, error) {
			return slicemirroring.New(d, n, 0), nil
		}},
		{name: servicecidr.Name, workers: 5, make: simple(servicecidr.New)},
		{name: gc.Name, alias: "garbagecollector", workers: 20, make: simple(gc.New)},
		{name: resourcequota.Name, alias: "resourcequota", workers: 5, make: simple(resourcequota.New)},
		{name: namespace.Name, alias: "namespace", workers: 10, make: simple(namespace.New)},
		{name: podgc.Name, alias: "podgc", workers: 4, make: func(d controllers.Deps, c *Config, _ *material, _ int) (controllers.Controller, error) {
			return podgc.New(d, c.TerminatedPods), nil
		}},
		{name: protection.ClaimName, alias: "pvc-protection", workers: 1, make: simple(protection.NewClaims)},
		{name: protection.VolumeName, alias: "pv-protection", workers: 1, make: simple(protection.NewVolumes)},
		{name: protection.ClassName, alias: "vac-protection", workers: 1, make: simple(protection.NewClasses)},
		{name: ephemeralvolume.Name, alias: "ephemeral-volume", workers: 5, make: simple(ephemeralvolume.New)},
		{name: disruption.Name, alias: "disruption", workers: 1, make: simple(disruption.New)},
		{name: csrapproving.Name, alias: "csrapproving", workers: 1, make: func(d controllers.Deps, c *Config, _ *material, n int) (controllers.Controller, error) {
			return csrapproving.New(d, n, csrapproving.Options{ServingByAddress: c.KubeletServingAutoApprove}), nil
		}},
		{name: csrsigning.Name, alias: "csrsigning", workers: 1, make: makeSigning},
		{name: csrcleaner.Name, alias: "csrcleaner", make: single(csrcleaner.New)},
		{name: podcertcleaner.Name, make: single(podcertcleaner.New)},
		{name: clusterdns.Name, make: func(d controllers.Deps, c *Config, _ *material, _ int) (controllers.Controller, error) {
			if !c.ClusterDNS.IsValid() {
				return nil, nil
			}
			return clusterdns.New(d, c.ClusterDNS), nil
		}},
		{name: storagemigration.Name, alias: "storage-version-migrator", workers: 1, make: simple(storagemigration.New)},
		{name: aggregation.Name, alias: "clusterrole-aggregation", workers: 5, make: simple(aggregation.New)},
		{name: policystatus.Name, alias: "validatingadmissionpolicy-status", workers: 5, make: simple(policystatus.New)},
		{name: bootstrapsigner.Name, alias: "bootstrapsigner", off: true, make: single(bootstrapsigner.New)},
		{name: tokencleaner.Name, alias: "tokencleaner", off: true, make: single(tokencleaner.New)},
	}
}

// elsewhere are upstream's controllers that are not part of this manager. To switch one off is no error.
//
// storageversion-garbage-collector-controller has nothing to collect: the API that it tidies, internal.apiserver.k8s.io/v1alpha1, is off unless
// asked for, and no server of this program has it.
func elsewhere() []string {
	return []string{
		"device-taint-eviction-controller",
		"node-route-controller", "persistentvolume-attach-detach-controller",
		"persistentvolume-binder-controller", "persistentvolume-expander-controller",
		"resourceclaim-controller", "selinux-warning-controller", "service-lb-controller",
		"cloud-node-lifecycle-controller",
		"storageversion-garbage-collector-controller",
	}
}

func makeTokens(d controllers.Deps, _ *Config, m *material, n int) (controllers.Controller, error) {
	if m.signer == nil {
		return nil, nil
	}
	return satoken.New(d, n, m.signer, m.rootCA), nil
}

func makeRootCA(d controllers.Deps, _ *Config, m *material, n int) (controllers.Controller, error) {
	if len(m.rootCA) == 0 {
		return nil, nil
	}
	return rootca.New(d, n, m.rootCA), nil
}

func makeTrustBundle(d controllers.Deps, _ *Config, m *material, _ int) (controllers.Controller, error) {
	if len(m.rootCA) == 0 {
		return nil, nil
	}
	return trustbundle.New(d, m.rootCA), nil
}

func makeNodeIPAM(d controllers.Deps, c *Config, _ *material, _ int) (controllers.Controller, error) {
	if !c.AllocateNodeCIDRs {
		return nil, nil
	}
	return nodeipam.New(d, nodeipam.Options{ClusterCIDRs: c.ClusterCIDRs, MaskV4: c.NodeMaskV4, MaskV6: c.NodeMaskV6, Reserved: c.ServiceCIDRs})
}

func makeSigning(d controllers.Deps, c *Config, m *material, n int) (controllers.Controller, error) {
	if len(m.authorities) == 0 {
		return nil, nil
	}
	return csrsigning.New(d, n, csrsigning.Options{Authorities: m.authorities, Duration: c.SigningDuration}), nil
}

// choose picks entries as --controllers says. An unknown name is an error that lists the known ones.
func choose(all []entry, wanted []string) ([]entry, error) {
	var known []string
	byName := map[string]string{}
	for _, e := range all {
		known = append(known, e.name)
		byName[e.name] = e.name
		if e.alias != "" {
			byName[e.alias] = e.name
		}
	}
	star := false
	say := map[string]bool{}
	for _, w := range wanted {
		if w == "*" {
			star = true
			continue
		}
		bare, off := strings.CutPrefix(w, "-")
		name, ok := byName[bare]
		switch {
		case ok:
			say[name] = !off
		case slices.Contains(elsewhere(), bare):
			if !off {
				return nil, fmt.Errorf("--controllers: %q is not part of this manager; it has %s", bare, strings.Join(known, ", "))
			}
		default:
			return nil, fmt.Errorf("--controllers: %q is not in the list of known controllers: %s", bare, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(e entry) bool {
		on, said := say[e.name]
		if said {
			return !on
		}
		return !star || e.off
	}), nil
}
