package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

// deployTool runs a program that reads files of deploy/.
func deployTool(t *testing.T, program string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is missing: scripts/deps.sh installs it", program)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

func TestAlertsGoOffWhenTheyShould(t *testing.T) {
	deployTool(t, "promtool", "check", "config", "../../deploy/prometheus/prometheus.yaml")
	deployTool(t, "promtool", "test", "rules", "../../deploy/prometheus/alerts_test.yaml")
	text := func(file string) string {
		b, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	cases, operations := text("deploy/prometheus/alerts_test.yaml"), text("docs/OPERATIONS.md")
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(text("deploy/prometheus/alerts.yaml"), -1) {
		if !regexp.MustCompile(`alertname: ` + alert[1] + `\n +exp_alerts`).MatchString(cases) {
			t.Errorf("no case in which %s goes off", alert[1])
		}
		if !strings.Contains(operations, "`"+alert[1]+"`") {
			t.Errorf("docs/OPERATIONS.md does not say what to do about %s", alert[1])
		}
	}
}

func TestFileForSystemdIsUnderstoodAndStrict(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/systemd/signald.service")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "signald.service")
	text := strings.Replace(string(unit), "/usr/local/bin/signald serve", "/bin/true", 1) // one that is there
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	deployTool(t, "systemd-analyze", "verify", file)
	deployTool(t, "systemd-analyze", "security", "--offline=true", "--threshold=20", file) // of 100, the fewer the stricter
}

func TestFileForCaddyIsUnderstood(t *testing.T) {
	deployTool(t, "caddy", "validate", "--adapter", "caddyfile", "--config", "../../deploy/caddy/Caddyfile")
}

// Alerts and graphs of what does not exist would never say a word.
func TestAlertsAndGraphsAreOfMetricsThatExist(t *testing.T) {
	addr, turn := loopback(t), loopback(t)
	n := testnode.New(t, "SIGNALD_METRICS_LISTEN="+addr, "SIGNALD_DATABASE_URL="+testpg.URL(t), "SIGNALD_REDIS_URL="+testredis.URL(t),
		"SIGNALD_TURN_LISTEN="+turn, "SIGNALD_TURN_PUBLIC_IP=127.0.0.1", "SIGNALD_TURN_SECRET=s",
		"SIGNALD_WEBHOOK_URL=http://127.0.0.1:1/", "SIGNALD_WEBHOOK_SECRET=whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	n.Start()
	missing := func() (all []string) {
		_, text := do(t, from("127.0.0.1"), "GET", "http://"+addr+"/metrics", "")
		for _, file := range []string{"prometheus/alerts.yaml", "grafana/signald.json"} {
			b, err := os.ReadFile(filepath.Join("../../deploy", file))
			if err != nil {
				t.Fatal(err)
			}
			for _, metric := range regexp.MustCompile(`\bsignald_[a-z_]+`).FindAllString(string(b), -1) {
				base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(metric, "_bucket"), "_sum"), "_count")
				if !strings.Contains(text, "# TYPE "+base+" ") && !appearsWithUse[base] {
					all = append(all, file+" asks for "+metric)
				}
			}
		}
		return all
	}
	// Some are there after the first call of Redis, which need not have been yet.
	for c := ctx(t); len(missing()) > 0; {
		select {
		case <-c.Done():
			t.Fatalf("the server does not have them: %v", missing())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// appearsWithUse are those by label, which have no value before something was counted.
var appearsWithUse = map[string]bool{
	"signald_store_errors_total": true, "signald_events_total": true, "signald_event_duration_seconds": true, "signald_geo_lookups_total": true,
	"signald_redis_errors_total": true,
}

// manifest is what is looked at of an object for Kubernetes.
type manifest struct {
	Kind string
	Data map[string]string
	Spec struct {
		Template struct {
			Spec struct {
				TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
				Containers                    []struct {
					StartupProbe   probe `yaml:"startupProbe"`
					ReadinessProbe probe `yaml:"readinessProbe"`
					LivenessProbe  probe `yaml:"livenessProbe"`
					Lifecycle      struct {
						PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
					}
				}
			}
		}
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func TestKubernetesAsksTheRightPathsAndLeavesTimeToDrain(t *testing.T) {
	f, err := os.Open("../../deploy/kubernetes/signald.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	kinds := map[string]manifest{}
	for decoder := yaml.NewDecoder(f); ; {
		var m manifest
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds[m.Kind] = m
	}
	for _, kind := range []string{"ConfigMap", "Deployment", "Service", "Ingress", "PodDisruptionBudget"} {
		if kinds[kind].Kind == "" {
			t.Fatalf("no %s in %v", kind, kinds)
		}
	}
	pod := kinds["Deployment"].Spec.Template.Spec
	c := pod.Containers[0]
	if c.StartupProbe.HTTPGet.Path != "/healthz" || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("probes: %+v", c)
	}
	drain, err := time.ParseDuration(kinds["ConfigMap"].Data["SIGNALD_DRAIN_TIMEOUT"])
	if err != nil {
		t.Fatal(err)
	}
	sleep := c.Lifecycle.PreStop.Sleep.Seconds
	if sleep == 0 || pod.TerminationGracePeriodSeconds <= sleep+int(drain.Seconds()) {
		t.Errorf("%d s to end, of which it sleeps %d and drains %v", pod.TerminationGracePeriodSeconds, sleep, drain)
	}
}
