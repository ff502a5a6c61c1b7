// AWS on loopback: Parameter Store and the rest, played by moto; another one, played by ministack, that asks who you are and
// what you may; and the `aws` command beside them.
//
// Comes in: Python and a package index. Goes out: two parts that answer AWS' own protocol, and the variables by which SDKs and
// the command find the first. Nothing of it is installed for the machine: it has a Python environment of its own in the cache.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// awsPackages are what is installed, and nothing newer: an emulator that changes over night breaks tests of others.
var awsPackages = []string{"moto[server,ssm,sqs,s3,ecr,sts]==5.2.5", "ministack==1.5.33", "awscli==1.46.2"}

const (
	awsRegion = "us-east-1"
	// The first request to each service loads its part of boto3.
	awsHealthyWithin = 60 * time.Second
)

// awsServices are named as the SDKs want their variables.
var awsServices = []string{"SSM", "STS", "SQS", "S3", "ECR"}

// awsTools is the folder of the Python environment, made when it is not there.
func awsTools(ctx context.Context) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(awsPackages, " ")))
	folder := filepath.Join(cache, "aws-"+hex.EncodeToString(sum[:4]))
	release, err := lockFile(ctx, folder+".lock")
	if err != nil {
		return "", err
	}
	defer release()
	if executable(filepath.Join(folder, "ready", "moto_server")) {
		return folder, nil
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", errors.New("--aws needs python3")
	}
	return folder, step("install "+strings.Join(awsPackages, " "), nil, func() error { return installAWS(ctx, python, folder) })
}

func installAWS(ctx context.Context, python, folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	run := func(command ...string) error {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		var output lastLines
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, indent(output.tail(15)))
		}
		return nil
	}
	if err := run(python, "-m", "venv", folder); err != nil {
		// Debian keeps it in a package of its own.
		if os.Geteuid() != 0 {
			return err
		}
		if missing := aptInstall(ctx, []string{"python3-venv"}); missing != nil {
			return errors.Join(err, missing)
		}
		if err := run(python, "-m", "venv", "--clear", folder); err != nil {
			return err
		}
	}
	pip := []string{filepath.Join(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}
	if err := run(append(pip, awsPackages...)...); err != nil {
		return err
	}
	// The last step, so that half an installation is never taken for a whole one.
	return os.Symlink("bin", filepath.Join(folder, "ready"))
}

func (b *bed) startAWS(ctx context.Context) error {
	folder, err := awsTools(ctx)
	if err != nil {
		return err
	}
	for _, program := range []string{"aws"} {
		link := b.path("bin", program)
		os.Remove(link)
		if err := os.Symlink(filepath.Join(folder, "bin", program), link); err != nil {
			return err
		}
	}
	_, port, _ := strings.Cut(b.address("aws"), ":")
	host := "127.0.0.1"
	if b.state.Netns != "" {
		host = "0.0.0.0" // of the bed's own network, where pods must reach it
	}
	open := part{
		name:    "aws",
		command: b.inside(filepath.Join(folder, "bin", "moto_server"), "-H", host, "-p", port),
		port:    b.state.Ports["aws"], healthy: b.awsAnswers("aws", "/moto-api/data.json"), within: awsHealthyWithin,
	}
	_, port, _ = strings.Cut(b.address("aws-strict"), ":")
	strict := part{
		name:    "aws-strict",
		command: b.inside(filepath.Join(folder, "bin", "ministack")),
		// Without a host it would listen to the whole network.
		env:  []string{"BIND_HOST=127.0.0.1", "GATEWAY_PORT=" + port, "LOG_LEVEL=WARNING", "AUTH=true"},
		port: b.state.Ports["aws-strict"], healthy: b.awsAnswers("aws-strict", "/v2/"), within: awsHealthyWithin,
	}
	return together(ctx,
		func(ctx context.Context) error { return b.startPart(ctx, open) },
		func(ctx context.Context) error { return b.startPart(ctx, strict) })
}

func (b *bed) awsAnswers(part, path string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.address(part)+path, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", answer.Status)
		}
		return nil
	}
}

// awsEnvironment is how SDKs and the command find it. The credentials are no secret: it asks for some and takes any.
func (b *bed) awsEnvironment() [][2]string {
	if !b.state.AWS {
		return nil
	}
	vars := [][2]string{
		{"AWS_ACCESS_KEY_ID", "test"}, {"AWS_SECRET_ACCESS_KEY", "test"}, {"AWS_REGION", awsRegion}, {"AWS_DEFAULT_REGION", awsRegion},
		// Nobody shall look for the identity of the machine that this runs on.
		{"AWS_EC2_METADATA_DISABLED", "true"},
	}
	for _, service := range awsServices {
		vars = append(vars, [2]string{"AWS_ENDPOINT_URL_" + service, "http://" + b.address("aws")})
	}
	vars = append(vars, [2]string{"BASCULE_AWS_STRICT", "http://" + b.address("aws-strict")})
	if b.state.Netns != "" {
		vars = append(vars, [2]string{"BASCULE_AWS_IN_PODS", "http://" + nodeAddress + ":" + strconv.Itoa(b.state.Ports["aws"])})
	}
	return append(vars, [2]string{"REGISTRY", b.address("registry")})
}
