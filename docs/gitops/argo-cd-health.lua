-- Health of a Release (bascule.dev) for Argo CD. What goes in: obj, as it is in the cluster. What goes out: a status and a message.
-- Release follows kstatus: Ready, Reconciling and Stalled, and observedGeneration. No library is needed.
local function condition(kind)
  for _, it in ipairs((obj.status or {}).conditions or {}) do
    if it.type == kind then
      return it
    end
  end
  return { status = "Unknown", reason = "", message = "" }
end

local function say(status, message)
  return { status = status, message = message }
end

if (obj.status or {}).observedGeneration ~= obj.metadata.generation then
  return say("Progressing", "the controller has not seen this version of the spec yet")
end

local ready = condition("Ready")
local why = ready.reason .. ": " .. ready.message

-- A person said so, and something else is wanted.
if ready.reason == "Suspended" or ready.reason == "Held" or ready.reason == "RolledBack" then
  return say("Suspended", why)
end
if condition("Stalled").status == "True" then
  return say("Degraded", why)
end
-- Users are on pods that are bad, and there is no way back by itself.
if ready.reason == "WayBackNotAvailable" or ready.reason == "BakeFailing" then
  return say("Degraded", why)
end
if ready.status ~= "True" then
  return say("Progressing", why)
end
local available = condition("Available")
if available.status == "False" then
  return say("Progressing", ready.message .. "; " .. available.message)
end
local fresh = condition("SourcesFresh")
if fresh.message ~= "" and fresh.reason ~= "Fresh" then
  return say("Healthy", ready.message .. "; " .. fresh.message)
end
return say("Healthy", ready.message)
