// What Argo CD says.
//
// Comes in: an object, and a health script or none. Goes out: the health that Argo CD shows; nil if it shows none. The order and the limits
// are those of Argo CD 3.5: an object that is being deleted is never asked about; a script has no libraries but `table` and a harmless `os`,
// and one second.
package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// scriptTime is how long Argo CD lets a script run.
const scriptTime = time.Second

var healths = []string{"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"}

func argo(object *unstructured.Unstructured, script string) *verdict {
	if object.GetDeletionTimestamp() != nil {
		return &verdict{"Progressing", "Pending deletion"}
	}
	// The script is for one kind, and for the kinds of other groups Argo CD has its own; they are not the matter here.
	if script == "" || object.GroupVersionKind().Group != "bascule.dev" || object.GetKind() != "Release" {
		return nil
	}
	said, err := runScript(object, script)
	if err != nil {
		return &verdict{"Unknown", err.Error()}
	}
	return said
}

func runScript(object *unstructured.Unstructured, script string) (*verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", inLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	table, is := state.Get(-1).(*lua.LTable)
	if !is {
		return nil, fmt.Errorf("expect table output from Lua script, not %s", state.Get(-1).Type())
	}
	said := verdict{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	if !slices.Contains(healths, said.Status) {
		return &verdict{"Unknown", "Lua returned an invalid health status"}, nil
	}
	return &said, nil
}

func inLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case int64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, item := range value {
			table.Append(inLua(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetString(key, inLua(state, item))
		}
		return table
	}
	return lua.LNil
}
