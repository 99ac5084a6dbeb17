package scenario

import (
	"context"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
	"hyperkube/e2e/bench/system"
)

const (
	clients   = 32
	namespace = "bench"
)

// onAPI starts an API server with its datastore and a namespace for pods, nothing else.
func onAPI(run func(ctx context.Context, r *Round, cfg *rest.Config) error, parts ...system.Part) func(context.Context, *Round) error {
	return func(ctx context.Context, r *Round) error {
		if err := r.System.Prepare(ctx, system.Options{Parts: parts}); err != nil {
			return err
		}
		if err := r.System.Start(ctx); err != nil {
			return err
		}
		cfg, err := r.System.Client()
		if err != nil {
			return err
		}
		api, err := load.NewAPI(cfg, load.JSON)
		if err != nil {
			return err
		}
		if err := load.Prepare(ctx, api, namespace); err != nil {
			return err
		}
		return run(ctx, r, cfg)
	}
}

// fill makes hollow pods.
func fill(ctx context.Context, cfg *rest.Config, format string, clients, count int) (load.Times, error) {
	all, err := load.Raws(cfg, clients)
	if err != nil {
		return load.Times{}, err
	}
	pods, err := load.CreateHollowPods(namespace, format, count)
	if err != nil {
		return load.Times{}, err
	}
	return load.Parallel(ctx, all, count, func(ctx context.Context, c *load.Raw, n int) error {
		_, err := c.Send(ctx, pods[n])
		return err
	})
}

// counted checks that there are as many pods as were made.
func counted(ctx context.Context, cfg *rest.Config, want int) error {
	a, err := load.NewAPI(cfg, load.Protobuf)
	if err != nil {
		return err
	}
	var pods corev1.PodList
	if err := a.List(ctx, load.Pods, namespace, metav1.ListOptions{}, &pods); err != nil {
		return err
	}
	if len(pods.Items) != want {
		return fmt.Errorf("%d pods were made, and there are %d", want, len(pods.Items))
	}
	return nil
}

func apiStart() Scenario {
	f := Figure{Name: "start of datastore and API server to /readyz", Unit: "ms"}
	return Scenario{
		Name:     "api-start",
		Sentence: "From the start of the first process with an empty data directory until /readyz of the API server says ok, nothing else running.",
		Figures:  []Figure{f}, Limit: 2 * time.Minute,
		Run: func(ctx context.Context, r *Round) error {
			if err := r.System.Prepare(ctx, system.Options{}); err != nil {
				return err
			}
			began := time.Now()
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			r.Record(f.Name, milliseconds(time.Since(began)))
			return nil
		},
	}
}

func create() Scenario {
	const count = 5000
	json := Figure{Name: "create pods, JSON", Unit: "/s", Higher: true, Times: 5}
	proto := Figure{Name: "create pods, protobuf", Unit: "/s", Higher: true, Times: 5}
	p50 := Figure{Name: "create a pod, JSON, p50", Unit: "ms"}
	cost := costOf("create a pod, JSON")
	return Scenario{
		Name: "create",
		Sentence: fmt.Sprintf("%d clients, each with a TLS connection of client-go's to itself, make %d pods of 2 KB, encoded beforehand and without decoding the answers; "+
			"a new API server for each of the two wire formats.", clients, count),
		Figures: []Figure{json, proto, p50, cost.system, cost.load}, Limit: 4 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			var t load.Times
			err := r.recordCosts(cost, count, func() (err error) {
				t, err = fill(ctx, cfg, load.JSON, clients, count)
				return err
			})
			if err != nil {
				return err
			}
			if err := counted(ctx, cfg, count); err != nil {
				return err
			}
			r.Record(json.Name, t.Rate())
			r.Record(p50.Name, milliseconds(t.P50()))
			if err := r.System.Stop(ctx); err != nil {
				return err
			}
			if err := r.System.Forget(ctx); err != nil {
				return err
			}
			return onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
				t, err := fill(ctx, cfg, load.Protobuf, clients, count)
				if err != nil {
					return err
				}
				r.Record(proto.Name, t.Rate())
				return counted(ctx, cfg, count)
			})(ctx, r)
		}),
	}
}

func get() Scenario {
	const pods, count = 1000, 20000
	f := Figure{Name: "get a pod", Unit: "/s", Higher: true, Times: 5}
	cost := costOf("get a pod")
	return Scenario{
		Name:     "get",
		Sentence: fmt.Sprintf("%d clients, each with its own TLS connection, read one of %d pods as JSON, %d times in all, without decoding it.", clients, pods, count),
		Figures:  []Figure{f, cost.system, cost.load}, Limit: 3 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			if _, err := fill(ctx, cfg, load.Protobuf, clients, pods); err != nil {
				return err
			}
			return r.recordCosts(cost, count, func() error {
				t, err := gets(ctx, cfg, clients, count, func(n int) (string, string) {
					return load.Pods.Path(namespace, load.HollowPod(namespace, n%pods).Name), load.JSON
				})
				r.Record(f.Name, t.Rate())
				return err
			})
		}),
	}
}

// gets reads paths in parallel and drops the answers.
func gets(ctx context.Context, cfg *rest.Config, clients, count int, what func(n int) (path, format string)) (load.Times, error) {
	all, err := load.Raws(cfg, clients)
	if err != nil {
		return load.Times{}, err
	}
	return load.Parallel(ctx, all, count, func(ctx context.Context, c *load.Raw, n int) error {
		path, format := what(n)
		_, err := c.Send(ctx, load.Message{Method: http.MethodGet, Path: path, Accept: format, Code: http.StatusOK})
		return err
	})
}

func list() Scenario {
	const pods, count = 5000, 40
	consistent := Figure{Name: "list 5,000 pods, JSON, p50", Unit: "ms", Times: 10}
	old := Figure{Name: "list 5,000 pods, JSON, resourceVersion=0, p50", Unit: "ms", Times: 10}
	proto := Figure{Name: "list 5,000 pods, protobuf, p50", Unit: "ms", Times: 10}
	label := Figure{Name: "list 50 of 5,000 pods by label, JSON, p50", Unit: "ms"}
	cost, protoCost, labelCost := costOf("list 5,000 pods, JSON"), costOf("list 5,000 pods, protobuf"), costOf("list 50 of 5,000 pods by label")
	return Scenario{
		Name:     "lists",
		Sentence: fmt.Sprintf("4 clients at a time list a namespace of %d pods, uncompressed and undecoded, %d times in all for each kind.", pods, count),
		Figures:  []Figure{consistent, cost.system, cost.load, old, proto, protoCost.system, protoCost.load, label, labelCost.system, labelCost.load}, Limit: 4 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			if _, err := fill(ctx, cfg, load.Protobuf, clients, pods); err != nil {
				return err
			}
			path := load.Pods.Path(namespace, "")
			for _, k := range []struct {
				figure        string
				cost          costs
				query, format string
			}{
				{consistent.Name, cost, "", load.JSON}, {old.Name, costs{}, "?resourceVersion=0", load.JSON},
				{proto.Name, protoCost, "", load.Protobuf}, {label.Name, labelCost, "?labelSelector=group%3Dg007", load.JSON},
			} {
				lists := func() error {
					t, err := gets(ctx, cfg, 4, count, func(int) (string, string) { return path + k.query, k.format })
					r.Record(k.figure, milliseconds(t.P50()))
					return err
				}
				if k.cost == (costs{}) {
					if err := lists(); err != nil {
						return err
					}
					continue
				}
				if err := r.recordCosts(k.cost, count, lists); err != nil {
					return err
				}
			}
			return counted(ctx, cfg, pods)
		}),
	}
}

func patch() Scenario {
	const pods, count = 1000, 4000
	f := Figure{Name: "patch a pod's status", Unit: "/s", Higher: true, Times: 5}
	cost := costOf("patch a pod's status")
	return Scenario{
		Name:     "patch",
		Sentence: fmt.Sprintf("%d clients, each with a TLS connection of client-go's to itself, send %d strategic-merge patches to the status of %d pods, without decoding the answers.", clients, count, pods),
		Figures:  []Figure{f, cost.system, cost.load}, Limit: 3 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			if _, err := fill(ctx, cfg, load.Protobuf, clients, pods); err != nil {
				return err
			}
			all, err := load.Raws(cfg, clients)
			if err != nil {
				return err
			}
			return r.recordCosts(cost, count, func() error {
				t, err := load.Parallel(ctx, all, count, func(ctx context.Context, c *load.Raw, n int) error {
					body := fmt.Appendf(nil, `{"status":{"message":"change %d","conditions":[{"type":"Ready","status":"True","lastTransitionTime":%q}]}}`, n, metav1.Now().UTC().Format(time.RFC3339))
					_, err := c.Send(ctx, load.Message{
						Method: http.MethodPatch, Path: load.Pods.Path(namespace, load.HollowPod(namespace, n%pods).Name) + "/status",
						Type: string(types.StrategicMergePatchType), Accept: load.JSON, Body: body, Code: http.StatusOK,
					})
					return err
				})
				r.Record(f.Name, t.Rate())
				return err
			})
		}),
	}
}

func memory() Scenario {
	const pods = 10000
	f := Figure{Name: "memory of API server and datastore with 10,000 pods (PSS)", Unit: "MB", Times: 6}
	return Scenario{
		Name:     "memory",
		Sentence: fmt.Sprintf("Proportional memory of the processes that serve the API, half a minute after %d clients have made %d pods of 2 KB.", clients, pods),
		Figures:  []Figure{f}, Limit: 4 * time.Minute,
		Run: onAPI(func(ctx context.Context, r *Round, cfg *rest.Config) error {
			if _, err := fill(ctx, cfg, load.Protobuf, clients, pods); err != nil {
				return err
			}
			if err := pass(ctx, settled); err != nil {
				return err
			}
			m, err := r.Box.Memory(r.System.API()...)
			if err != nil {
				return err
			}
			r.Record(f.Name, megabytes(m.PSS))
			return nil
		}),
	}
}

// settled is how long a server has after a load before its memory is looked at.
const settled = 30 * time.Second
